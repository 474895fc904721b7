"""`offerwright experiment`: assign units and read results, without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.options import (
    Command,
    as_json,
    current_time,
    example,
    open_settled_store,
    operator,
    print_json,
    with_settings,
)

if TYPE_CHECKING:
    import pandas as pd

    from engine.settings import Settings
    from experiments.measure import Analysis


def _read_shares(_context: click.Context, _option: click.Parameter, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write shares separated by commas, for example 0.5,0.5") from error


def _share_option(default: str | None, help_text: str) -> Callable[[Command], Command]:
    metavar = "SHARE,SHARE…"
    return click.option(
        "--weights", default=default, show_default=True, callback=_read_shares, metavar=metavar, help=help_text
    )


_name = click.option("--name", help="Identifier under which the store keeps the experiment.")
_unit = click.option("--unit", default="unit_id", show_default=True, help="Column of the unit's identifier.")
_out = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the result goes (CSV).")


@click.group()
def experiment() -> None:
    """Assign units to variants and read what an experiment earned."""


@experiment.command(
    epilog=example("offerwright experiment assign customers.csv --unit customer_id --salt spring --out assigned.csv")
)
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--salt", "salt", required=True, help="Text that makes this experiment's split its own.")
@_share_option("0.5,0.5", "Share of each variant, control first.")
@click.option("--coverage", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share that takes part.")
@click.option("--proposal", "proposal_id", help="Proposal that the experiment tests; needs --name.")
@_unit
@_name
@_out
@with_settings
def assign(
    settings: Settings,
    table: Path,
    salt: str,
    weights: list[float],
    coverage: float,
    proposal_id: str | None,
    unit: str,
    name: str | None,
    out: Path | None,
) -> None:
    """Assign each unit of TABLE (CSV or Parquet) to a variant: 0 control, 1 … treatments, -1 outside.

    The same unit, salt and weights give the same variant on every machine (GrowthBook's hashing, version 2).
    """
    from experiments.assign import assign as assign_units

    if proposal_id is not None and name is None:
        raise click.UsageError("--proposal needs --name, under which the store keeps the experiment")
    units = read_table(table, [unit])
    variants = assign_units(units[unit].astype(str).to_numpy(dtype=object), salt, weights, coverage=coverage)
    if name is not None:
        design = {"unit": unit, "weights": weights, "coverage": coverage, "hash": "growthbook-2"}
        with open_settled_store(settings) as store:
            store.experiments.add(
                name, salt=salt, design=design, by=operator(), now=current_time(), proposal_id=proposal_id
            )
    _write(units[[unit]].assign(variant=variants), out)


@experiment.command(
    epilog=example("offerwright experiment analyse outcomes.csv --metric profit --metric orders --unit customer_id")
)
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--metric", "metrics", multiple=True, required=True, help="Column to compare; repeatable.")
@click.option(
    "--variant", default="variant", show_default=True, help="Column of the variant: 0 control, 1 …, -1 outside."
)
@_share_option(None, "Planned share of each variant [default: equal].")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="1 − confidence.",
)
@_unit
@_name
@as_json
@with_settings
def analyse(
    settings: Settings,
    table: Path,
    metrics: tuple[str, ...],
    variant: str,
    weights: list[float] | None,
    alpha: float,
    unit: str,
    name: str | None,
    as_json: bool,
) -> None:
    """Read an experiment from TABLE (CSV or Parquet), one row per randomised unit.

    With --name the reading is stored beside what the experiment's proposal promised.
    """
    from experiments.measure import Metric
    from experiments.measure import analyse as analyse_table

    frame = read_table(table, [unit, variant, *metrics])
    wanted = [Metric(name=column, column=column) for column in metrics]
    analysis = analyse_table(frame, wanted, variant=variant, unit=unit, weights=weights, alpha=alpha)
    if name is not None:
        _store_reading(settings, name, analysis)
    if as_json:
        print_json(analysis)
    else:
        _print_analysis(analysis)


def read_table(path: Path, needed: list[str]) -> pd.DataFrame:
    """Read a CSV or Parquet file and make sure that it has the columns.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    import pandas as pd

    from engine.errors import DataError

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix or 'CSV'} ({error})") from error
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    return frame


def _write(frame: pd.DataFrame, out: Path | None) -> None:
    from engine.files import write_text

    text = frame.to_csv(index=False, lineterminator="\n")
    if out is None:
        click.echo(text, nl=False)
        return
    write_text(out, text)
    counts = sorted(Counter(frame["variant"].tolist()).items())
    shown = ", ".join(f"{'outside' if variant < 0 else variant}: {count:,}" for variant, count in counts)
    click.echo(f"wrote {out} ({shown})")


def _store_reading(settings: Settings, name: str, analysis: Analysis) -> None:
    from engine.files import plain

    reading: dict[str, Any] = plain(analysis)
    with open_settled_store(settings) as store:
        store.experiments.store_reading(name, reading, by=operator(), now=current_time())


def _print_analysis(analysis: Analysis) -> None:
    shown = ", ".join(f"{variant}: {count:,}" for variant, count in enumerate(analysis.counts))
    click.echo(f"units by variant   {shown}")
    if not analysis.trustworthy:
        click.echo(f"NOT TRUSTWORTHY: the split differs from its weights (p = {analysis.sample_ratio_p:.2g})")
    for effect in analysis.effects:
        relative = f" ({effect.relative:+.2%})" if effect.relative is not None else ""
        interval = f"[{effect.low:+.4g}, {effect.high:+.4g}]"
        click.echo(
            f"{effect.metric}, variant {effect.variant}: {effect.estimate:+.4g}{relative} {interval}, "
            f"p = {effect.p_value:.2g}: {effect.decision}"
        )
