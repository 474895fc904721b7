"""`offerwright experiment`: design, assign and read experiments, without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.experiment_analyse import analyse
from api.commands.experiment_design import design
from api.commands.experiment_evaluate import evaluate
from api.commands.experiment_launch import launch
from api.commands.experiment_replay import replay
from api.commands.options import (
    Command,
    current_time,
    example,
    open_settled_store,
    operator,
    with_settings,
)
from api.commands.tables import read_shares, read_table

if TYPE_CHECKING:
    import pandas as pd

    from engine.settings import Settings
    from experiments.design import Design


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
experiment.add_command(replay)
experiment.add_command(analyse)
experiment.add_command(launch)
experiment.add_command(evaluate)


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
    named = tuple(dict.fromkeys((unit, *([made.cluster] if made.cluster else []))))
    units = read_table(table, list(named), identifiers=named)
    ids = units[unit].to_numpy(dtype=object)
    if made.draw == "budget_split":
        split = budget_split_of(made, ids)
        money = split.budget[split.cell]
        return units[[unit]].assign(variant=split.customer_variant, cell=split.cell, cell_budget=money)
    return units[[unit]].assign(variant=variants_of(made, ids, units))


@experiment.command(epilog=example("offerwright experiment start spring"))
@click.argument("name")
@with_settings
def start(settings: Settings, name: str) -> None:
    """Start an experiment, which locks its design; `assign` does so too, where it is this program that assigns."""
    with open_settled_store(settings) as store:
        store.experiments.start(name, by=operator(), now=current_time())
    click.echo(f"started {name}")


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
