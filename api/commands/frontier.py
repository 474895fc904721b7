"""`offerwright frontier`: what a limit on prices costs, every point a plan that can be taken."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.options import (
    Finite,
    as_json,
    current_time,
    example,
    operator,
    print_json,
    with_settings,
    with_source,
)
from api.commands.tables import read_numbers

if TYPE_CHECKING:
    from api.price_stage import PosedPrices
    from engine.progress import Stopwatch
    from engine.proposal import Proposal
    from engine.settings import Settings
    from engine.shop import Shop
    from optimizers.budget.frontier import Frontier


@click.command(
    epilog=example(
        "offerwright frontier --data my_shop/ --measure index --levels 0.002,0.005,0.01 --out frontier",
        "offerwright frontier --data my_shop/ --measure units --take -0.01",
    )
)
@click.option("--data", metavar="NAME_OR_DIR", help="Data set, folder or database URL [default: data.source].")
@click.option(
    "--measure",
    type=click.Choice(["index", "units", "revenue", "investment"]),
    default="index",
    show_default=True,
    help="What is limited: the price index (at most this change, up or down), units or revenue (at least this "
    "change), the money given away by lower prices (at most).",
)
@click.option(
    "--levels", callback=read_numbers, help="Levels of the limit, separated by commas; shares, of the investment money."
)
@click.option("--take", type=Finite(), help="Store the plan of this level as a proposal; its files go to --out too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("frontier"),
    show_default=True,
    help="Folder for frontier.csv, frontier.html and the prices of every point.",
)
@as_json
@with_settings
def frontier(
    settings: Settings,
    data: str | None,
    measure: str,
    levels: list[float] | None,
    take: float | None,
    out: Path,
    as_json: bool,
) -> None:
    """Show the frontier of profit: what the best prices gain at each level of a limit, under all rules.

    Every point is a set of prices that can be taken: each stands in a file, and --take stores one as a proposal with
    all its evidence, as a run would.
    """
    from api.frontier import frontier_of, nearest_point, render_frontier
    from api.outputs import write_outputs
    from api.price_stage import pose_prices
    from api.show import shown_progress
    from engine.progress import Stopwatch
    from engine.sources import open_shop

    settings = with_source(settings, data=data)
    with shown_progress(sys.stderr) as progress:
        watch = Stopwatch(progress)
        with watch.stage("load"):
            shop = open_shop(settings.data.source, settings, watch.listener)
        posed = pose_prices(shop, settings, watch)
        with watch.stage("frontier"):
            found = frontier_of(posed, measure, levels or (), settings, watch.listener, take=take)
        taken = None
        if take is not None:
            level = nearest_point(found, take).level
            taken = _take(shop, settings, watch, posed, found, level, out)
    files = render_frontier(posed, found, language=settings.server.language, currency=settings.data.currency)
    write_outputs(files, out)
    if as_json:
        print_json(_record(found, taken, out))
    else:
        _print(found, taken, out)


def _take(
    shop: Shop, settings: Settings, watch: Stopwatch, posed: PosedPrices, found: Frontier, level: float, out: Path
) -> Proposal:
    """Store the plan of one point as a proposal, with its files; its page shows the whole frontier."""
    from api.cycle import keep_proposal
    from api.frontier_plans import measured_plans
    from api.price_choice import PriceChoice, PriceLimit
    from api.price_stage import choose_posed

    choice = PriceChoice(settings.pricing.risk, posed.rules, PriceLimit(found.measure, level))
    prices = choose_posed(shop, settings, watch, posed, choice)
    others = () if found.measure == "index" else prices.frontier
    prices = replace(prices, frontier=(*measured_plans(posed.problem, found), *others))
    return keep_proposal(shop, settings, prices, None, watch, now=current_time(), created_by=operator(), out=out)


def _record(found: Frontier, taken: Proposal | None, out: Path) -> dict[str, Any]:
    return {
        "measure": found.measure,
        "points": found.table(),
        "unreachable": found.unreachable,
        "steps": [found.step_words(number).english() for number in range(len(found.points) - 1)],
        "out": out,
        "proposal_id": taken.proposal_id if taken else None,
    }


def _print(found: Frontier, taken: Proposal | None, out: Path) -> None:
    from api.frontier_plans import level_words

    click.echo(f"{'limit':>12} {'reached':>12} {'gain':>12} {'bound':>12}   prices")
    for number, point in enumerate(found.points, 1):
        limit, reached = (level_words(found.measure, value) for value in (point.level, point.reached))
        where = out / f"prices_{number}.csv"
        click.echo(f"{limit:>12} {reached:>12} {point.value:>12,.0f} {point.bound:>12,.0f}   {where}")
    for level in found.unreachable:
        click.echo(f"{level_words(found.measure, level):>12} no prices under the rules keep it")
    for number in range(len(found.points) - 1):
        click.echo(found.step_words(number).english())
    click.echo(f"page: {out / 'frontier.html'}")
    if taken is not None:
        click.echo(f"stored as proposal {taken.proposal_id}")
