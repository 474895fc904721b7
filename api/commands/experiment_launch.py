"""`offerwright experiment launch`: what a launch in a few stores or regions earned, against a mix of the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.options import alpha_option, as_json, example, print_json, with_settings
from api.commands.tables import read_table

if TYPE_CHECKING:
    from api.experiment_launch import LaunchReading
    from engine.settings import Settings


@click.command(
    epilog=example(
        "offerwright experiment launch weekly.csv --metric profit --launched s03 --launched s17 --start 2026-03-02"
    )
)
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--metric", required=True, help="Column to compare, such as weekly profit.")
@click.option("--launched", multiple=True, required=True, help="Store or region with the launch; repeatable.")
@click.option("--start", required=True, help="First period with the launch.")
@click.option("--unit", default="store_id", show_default=True, help="Column of the store or region.")
@click.option("--period", default="week", show_default=True, help="Column of the period: a date or a whole number.")
@alpha_option("1 − confidence; with 19 other regions no interval is surer than 95 %.", default=0.1)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Page with the gap over time (HTML).")
@as_json
@with_settings
def launch(
    settings: Settings,
    table: Path,
    metric: str,
    launched: tuple[str, ...],
    start: str,
    unit: str,
    period: str,
    alpha: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Read a launch in few stores or regions from TABLE (CSV or Parquet), one row for each region and period.

    Each launched region is compared with the mix of the others that was most like it before the launch (synthetic
    control); how sure the effect is, is read off placebos: every other region is taken for a launched one in turn.
    """
    from api.experiment_launch import launch_table, read_launch, render_launch
    from api.experiment_plots import STYLE
    from api.language import translations
    from engine.files import write_text

    frame = read_table(table, [unit, period, metric], identifiers=(unit,))
    made = launch_table(frame, unit=unit, period=period, metric=metric, launched=launched, start=start)
    reading = read_launch(made, alpha=alpha)
    if plot is not None:
        language = settings.server.language
        write_text(plot, render_launch(reading, metric, translations(language).gettext, language, STYLE))
    if as_json:
        print_json(reading)
    else:
        _print(reading, metric, alpha)


def _print(reading: LaunchReading, metric: str, alpha: float) -> None:
    found = reading.control
    since = len(reading.periods) - reading.periods.index(reading.start)
    click.echo(f"launched           {', '.join(reading.launched)}, from {reading.start}, {since} period(s)")
    click.echo(
        f"{metric}, for each region and period: {found.estimate:+.4g} [{found.low:+.4g}, {found.high:+.4g}] "
        f"({1 - alpha:.0%}), p = {found.p_value:.2g} among {found.placebos:,} placebos"
    )
    click.echo(f"in all             {reading.total:+,.4g}")
    click.echo(f"gap before         {found.fit:.4g} (root mean square; large beside the effect: do not believe it)")
    for name, weights in reading.mix.items():
        most = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
        click.echo(f"mix of {name}: {', '.join(f'{donor} {share:.0%}' for donor, share in most)}")
    for note in reading.notes:
        click.echo(f"notice: {note.english()}")
