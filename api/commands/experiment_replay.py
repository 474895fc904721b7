"""`offerwright experiment replay`: a method tried out on history that holds no effect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.options import (
    alpha_option,
    as_json,
    example,
    metric_options,
    open_settled_store,
    print_json,
    with_settings,
)
from api.commands.tables import read_table

if TYPE_CHECKING:
    from engine.settings import Settings
    from experiments.measure import Replay


@click.command(
    epilog=example(
        "offerwright experiment replay customers.csv --metric profit --covariate before --unit customer_id",
        "offerwright experiment replay customers.csv --name spring",
    )
)
@click.argument("history", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", help="A stored design, whose draw, metric and analysis are replayed.")
@click.option("--metric", help="Column to compare, where there is no design.")
@metric_options
@click.option("--covariate", help="Column from before, for CUPED.")
@click.option("--cluster", help="Column of what is randomised together, such as the store.")
@click.option("--unit", default="unit_id", show_default=True, help="Column of the unit's identifier.")
@alpha_option("1 − confidence that the method promises, where there is no design.")
@click.option(
    "--splits", type=click.IntRange(32, 100_000), default=320, show_default=True, help="Random splits of history."
)
@as_json
@with_settings
def replay(settings: Settings, history: Path, name: str | None, as_json: bool, **asked: Any) -> None:  # noqa: ANN401
    """Split HISTORY (CSV or Parquet) at random, many times, and see how often the method finds an effect.

    Nothing happened between the halves, so a sound method finds an effect as often as it promises and no more. HISTORY
    is what the design was made from: one row for each past unit, or for each unit and week (step).
    """
    found = _of_design(settings, history, name, asked) if name is not None else _of_metric(history, asked)
    if as_json:
        print_json(found)
        return
    click.echo(f"A/A replay         {found.check.reason.english()}")
    click.echo(f"spread of z        {found.z_spread:.3f} (1 where the standard error is right, more where too small)")
    click.echo(f"verdict            {'NOT TRUSTWORTHY' if found.check.verdict == 'broken' else found.check.verdict}")


def _of_metric(history: Path, asked: Mapping[str, Any]) -> Replay:
    """Replay one metric in the database, whatever the size of history."""
    import duckdb

    from experiments.measure import Units, duckdb_warehouse, metric_from
    from experiments.measure import replay as replay_metric

    if not asked["metric"]:
        raise click.UsageError("give --metric, or --name of a stored design")
    declared = {key: asked[key] for key in ("kind", "denominator", "cost", "covariate") if asked[key]}
    metric = metric_from({"name": asked["metric"], "column": asked["metric"], **declared})
    named = [asked[key] for key in ("unit", "metric", "denominator", "cost", "covariate", "cluster") if asked[key]]
    frame = read_table(history, named, identifiers=(asked["unit"],))[named]
    with duckdb.connect(config={"threads": 1}) as database:
        database.register("history", frame)
        units = Units(duckdb_warehouse(database), "history", unit=asked["unit"], cluster=asked["cluster"])
        return replay_metric(units, metric, splits=asked["splits"], alpha=asked["alpha"])


def _of_design(settings: Settings, history: Path, name: str, asked: Mapping[str, Any]) -> Replay:
    from api.experiment_replay import past_of
    from experiments.design import design_from
    from experiments.replay_design import replay_design

    with open_settled_store(settings) as store:
        made = design_from(store.experiments.get(name).design)
    past = past_of(made, lambda columns, names: read_table(history, list(columns), identifiers=names), asked["unit"])
    return replay_design(made, past, splits=asked["splits"])
