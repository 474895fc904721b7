"""`offerwright experiment`: design, assign and read experiments, without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.experiment_design import design
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
from api.commands.tables import read_shares, read_table

if TYPE_CHECKING:
    import pandas as pd

    from engine.settings import Settings
    from experiments.design import Design
    from experiments.measure import Analysis
    from experiments.reading import DesignReading
    from experiments.trust.check import Check


def _share_option(default: str | None, help_text: str) -> Callable[[Command], Command]:
    metavar = "SHARE,SHARE…"
    return click.option("--weights", default=default, callback=read_shares, metavar=metavar, help=help_text)


_name = click.option("--name", help="Identifier under which the store keeps the experiment.")
_unit = click.option("--unit", default="unit_id", show_default=True, help="Column of the unit's identifier.")
_out = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the result goes (CSV).")


@click.group()
def experiment() -> None:
    """Design experiments, assign units to variants, and read what they earned."""


experiment.add_command(design)


@experiment.command(
    epilog=example(
        "offerwright experiment assign customers.csv --unit customer_id --salt spring --out assigned.csv",
        "offerwright experiment assign customers.csv --unit customer_id --name spring --out assigned.csv",
    )
)
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--salt", help="Text that makes this experiment's split its own; not for a stored design.")
@_share_option(None, "Share of each variant, control first [default: 0.5,0.5].")
@click.option("--coverage", type=click.FloatRange(0, 1), help="Share that takes part [default: 1].")
@click.option("--proposal", "proposal_id", help="Proposal that the experiment tests; needs --name.")
@_unit
@_name
@_out
@with_settings
def assign(
    settings: Settings,
    table: Path | None,
    salt: str | None,
    weights: list[float] | None,
    coverage: float | None,
    proposal_id: str | None,
    unit: str,
    name: str | None,
    out: Path | None,
) -> None:
    """Assign each unit of TABLE (CSV or Parquet) to a variant: 0 control, 1 … treatments, -1 outside.

    The same unit, salt and weights give the same variant on every machine (GrowthBook's hashing, version 2). With
    --name and no --salt the stored design assigns, and the experiment starts: from then on its design is locked. A
    design that drew its units itself (products, switchbacks) needs no TABLE.
    """
    if salt is None:
        if name is None:
            raise click.UsageError("give --salt, or --name of a stored design")
        _write(_start_and_assign(settings, name, table, unit), out)
        return
    from experiments.assign import assign as assign_units

    if table is None:
        raise click.UsageError("give a TABLE of units")
    if proposal_id is not None and name is None:
        raise click.UsageError("--proposal needs --name, under which the store keeps the experiment")
    units = read_table(table, [unit], identifiers=(unit,))
    share, part = weights or [0.5, 0.5], 1.0 if coverage is None else coverage
    variants = assign_units(units[unit].to_numpy(dtype=object), salt, share, coverage=part)
    if name is not None:
        plan = {"unit": unit, "weights": share, "coverage": part, "hash": "growthbook-2"}
        with open_settled_store(settings) as store:
            store.experiments.add(
                name, salt=salt, design=plan, by=operator(), now=current_time(), proposal_id=proposal_id
            )
            store.experiments.start(name, by=operator(), now=current_time())
    _write(units[[unit]].assign(variant=variants), out)


def _start_and_assign(settings: Settings, name: str, table: Path | None, unit: str) -> pd.DataFrame:
    """Assign by a stored design, which starts it if it has not started yet."""
    from engine.errors import StateError
    from engine.store import ExperimentState
    from experiments.design import design_from

    with open_settled_store(settings) as store:
        stored = store.experiments.get(name)
        if stored.state is ExperimentState.ENDED:
            raise StateError(f"experiment {name!r} has ended; nobody is assigned any more")
        assigned = _assigned(design_from(stored.design), table, unit)
        if stored.state is ExperimentState.DESIGNED:
            store.experiments.start(name, by=operator(), now=current_time())
    return assigned


def _assigned(made: Design, table: Path | None, unit: str) -> pd.DataFrame:
    import pandas as pd

    from experiments.budget_design import budget_split_of
    from experiments.design_reading import schedule_of, variants_of

    if made.draw == "switchback":
        rows = [
            {unit: region, "step": step, "variant": int(on)}
            for region, ran in schedule_of(made).items()
            for step, on in enumerate(ran)
        ]
        return pd.DataFrame(rows)
    if table is None:
        if made.assigned is None:
            raise click.UsageError("this design assigns by hash; give a TABLE of units")
        return pd.DataFrame({unit: made.assigned.units, "variant": made.assigned.variant})
    units = read_table(table, [unit], identifiers=(unit,))
    ids = units[unit].to_numpy(dtype=object)
    if made.draw == "budget_split":
        split = budget_split_of(made, ids)
        money = split.budget[split.cell]
        return units[[unit]].assign(variant=split.customer_variant, cell=split.cell, cell_budget=money)
    return units[[unit]].assign(variant=variants_of(made, ids, units))


@experiment.command(
    epilog=example(
        "offerwright experiment analyse outcomes.csv --metric profit --metric orders --unit customer_id",
        "offerwright experiment analyse outcomes.csv --name spring --unit customer_id --plot spring.html",
    )
)
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--metric", "metrics", multiple=True, help="Column to compare; repeatable. A stored design names its own."
)
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
@click.option("--earlier", multiple=True, help="Column of the variant in an earlier test, to check what it left.")
@click.option("--segment", "segments", multiple=True, help="Column to break the effect down by; repeatable.")
@click.option(
    "--weeks", type=click.FloatRange(0, min_open=True), help="Weeks since the start [default: the plan is at its end]."
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Page with the plots (HTML).")
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
    earlier: tuple[str, ...],
    segments: tuple[str, ...],
    weeks: float | None,
    plot: Path | None,
    unit: str,
    name: str | None,
    as_json: bool,
) -> None:
    """Read an experiment from TABLE (CSV or Parquet), one row per randomised unit.

    With --name the reading is stored beside what the experiment's proposal promised. A stored design is read as it
    says: its metrics, its method, and the rule that decides.
    """
    if name is not None and not metrics:
        broken_down = {"segments": list(segments), "earlier": list(earlier)}
        _analyse_design(settings, name, table, unit, weeks, broken_down, plot, in_json=as_json)
        return
    if not metrics:
        raise click.UsageError("give --metric, or --name of a stored design")
    from experiments.measure import Metric
    from experiments.measure import analyse as analyse_table

    frame = read_table(table, [unit, variant, *metrics], identifiers=(unit,))
    wanted = [Metric(name=column, column=column) for column in metrics]
    analysis = analyse_table(
        frame,
        wanted,
        variant=variant,
        unit=unit,
        weights=weights,
        alpha=alpha,
        segments=list(segments),
        earlier=list(earlier),
    )
    if name is not None:
        _store_reading(settings, name, analysis)
    if as_json:
        print_json(analysis)
    else:
        _print_analysis(analysis)


def _analyse_design(
    settings: Settings,
    name: str,
    table: Path,
    unit: str,
    weeks: float | None,
    broken_down: Mapping[str, list[str]],
    plot: Path | None,
    *,
    in_json: bool,
) -> None:
    """Read a stored experiment as its design says, and store the reading."""
    from api.experiments import earlier_looks, keep_reading
    from engine.files import write_text
    from experiments.design import design_from
    from experiments.design_reading import read_by_design

    frame = read_table(table, [unit], identifiers=(unit,))
    with open_settled_store(settings) as store:
        stored = store.experiments.get(name)
        made = design_from(stored.design)
        reading = read_by_design(
            made,
            frame,
            unit=unit,
            elapsed_weeks=weeks,
            earlier_looks=earlier_looks(store, name),
            segments=broken_down["segments"],
            earlier=broken_down["earlier"],
            started=stored.started_at,
        )
        keep_reading(store, stored, reading, by=operator(), now=current_time())
        readings = [one.reading for one in store.experiments.readings(name)]
    if plot is not None:
        from api.experiment_plots import render_readings

        write_text(plot, render_readings(made, readings, settings.server.language))
    if in_json:
        print_json(readings[-1])
    else:
        _print_reading(reading, made, stored.promise)


@experiment.command(epilog=example("offerwright experiment end spring --why 'shipped: +0.4 a customer'"))
@click.argument("name")
@click.option("--why", required=True, help="The decision that was taken.")
@with_settings
def end(settings: Settings, name: str, why: str) -> None:
    """End an experiment: nobody is assigned any more; it can still be read."""
    with open_settled_store(settings) as store:
        store.experiments.end(name, why=why, by=operator(), now=current_time())
    click.echo(f"ended {name}")


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
    if analysis.interval != analysis.method or not analysis.final:
        click.echo(f"interim            the plan is not at its end; intervals are valid now ({analysis.interval})")
    _print_checks(analysis.checks)
    for exclusion in analysis.exclusions:
        click.echo(f"left out: {exclusion.reason.english()}")
    for refusal in analysis.refused:
        click.echo(f"{refusal.metric} cannot be read: {refusal.reason.english()}")
    for effect in analysis.effects:
        relative = f" ({effect.relative:+.2%})" if effect.relative is not None else ""
        interval = f"[{effect.low:+.4g}, {effect.high:+.4g}]"
        click.echo(
            f"{effect.metric}, variant {effect.variant}: {effect.estimate:+.4g}{relative} {interval}, "
            f"p = {effect.p_value:.2g}: {effect.decision}"
        )


def _print_checks(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.verdict != "passed":
            click.echo(f"{'NOT TRUSTWORTHY' if check.verdict == 'broken' else 'notice'}: {check.reason.english()}")


def _print_reading(reading: DesignReading, made: Design, promise: Mapping[str, Any]) -> None:
    _print_checks(reading.checks)
    for row in reading.effects:
        interval = f"[{row.low:+.4g}, {row.high:+.4g}]"
        click.echo(f"{row.metric}, variant {row.variant}: {row.estimate:+.4g} {interval}: {row.decision}")
    if reading.measured is not None:
        measured = reading.measured
        click.echo(f"measured gain      {measured.gain:,.0f} ({measured.low:,.0f} … {measured.high:,.0f})")
        if made.promise_scale is not None:
            click.echo(f"promised for it    {made.sizing.effect * made.promise_scale:,.0f}")
        if promise.get("promised_gain") is not None:
            click.echo(f"promised in all    {promise['promised_gain']:,.0f}")
    for verdict in reading.verdicts:
        click.echo(f"decision           {verdict.action}")
        for reason in verdict.reasons:
            click.echo(f"  {reason.english()}")
    for note in reading.notes:
        click.echo(note.english())
