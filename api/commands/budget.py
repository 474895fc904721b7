"""`offerwright budget`: one budget for prices, coupons and promotions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.horizon import read_calendar, table_argument, weeks_option
from api.commands.options import Finite, as_json, example, print_json, with_settings, with_source
from api.commands.tables import read_numbers
from engine.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.settings import Settings
    from optimizers.budget.joint import JointPlan, Stage

    Way = tuple[Stage, Callable[[Any], dict[str, str]]]
    """A way of spending, and the files of its plan."""


@click.command(
    epilog=example(
        "offerwright budget --budgets 1000,2000,5000 --coupons values.parquet --promotions products.csv "
        "--options options.csv --out budget",
        "offerwright budget --budgets 2000 --prices --data my_shop/ --coupons values.parquet",
    )
)
@click.option("--budgets", callback=read_numbers, required=True, help="Amounts of money, separated by commas.")
@click.option("--prices", "with_prices", is_flag=True, help="Spend on lower prices: demand is estimated from the data.")
@click.option("--data", metavar="NAME_OR_DIR", help="Data set of the prices [default: data.source].")
@click.option("--coupons", type=table_argument, help="Spend on coupons: table of values, as `allocate` reads it.")
@click.option("--promotions", type=table_argument, help="Spend on promotions: products, as `promotions` reads them.")
@click.option("--options", "options_file", type=table_argument, help="Kinds of promotion, as `promotions` reads them.")
@weeks_option
@click.option("--seconds", type=Finite(min=0), default=120.0, show_default=True, help="Time limit in all.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("budget"),
    show_default=True,
    help="Folder for budgets.csv, budget.html and a folder with the plans of each budget.",
)
@as_json
@with_settings
def budget(
    settings: Settings,
    budgets: list[float],
    with_prices: bool,
    data: str | None,
    coupons: Path | None,
    promotions: Path | None,
    options_file: Path | None,
    weeks: int,
    seconds: float,
    out: Path,
    as_json: bool,
) -> None:
    """Split a budget over lower prices, coupons and promotions, so that its last unit brings the same everywhere.

    Every budget's plan can be taken: its prices.csv, coupons.csv and promotions.csv stand in a folder of their own.
    Each way of spending is counted as if the others were not there: give each product, or customer, to one of them.
    """
    from api.outputs import write_outputs
    from api.plan_files import budget_page, budget_table
    from optimizers.budget.check import check_joint_plan
    from optimizers.budget.joint import budget_frontier

    if not budgets:
        raise ConfigurationError("--budgets names no amount; give amounts of money separated by commas")
    ways: list[Way] = []
    if coupons is not None:
        ways.append(_coupons(coupons))
    if promotions is not None:
        ways.append(_promotions(promotions, options_file, weeks, settings.seed))
    if with_prices:
        ways.append(_prices(with_source(settings, data=data)))
    if not ways:
        raise ConfigurationError("no way of spending is named; give --coupons, --promotions or --prices")
    stages = [stage for stage, _ in ways]
    plans = budget_frontier(stages, sorted(budgets), seconds=seconds)
    for plan in plans:
        check_joint_plan(stages, plan)
    files = {"budgets.csv": budget_table(stages, plans)}
    files["budget.html"] = budget_page(stages, plans, language=settings.server.language)
    write_outputs(files, out)
    for number, plan in enumerate(plans, 1):
        for (_, write), point in zip(ways, plan.points, strict=True):
            write_outputs(write(point.plan), out / f"budget_{number}")
    if as_json:
        print_json({"plans": [_record(stages, plan) for plan in plans], "out": out})
    else:
        _print(stages, plans, out)


def _coupons(path: Path) -> Way:
    from api.plan_files import csv_text
    from optimizers.budget.stages import CouponStage
    from optimizers.coupons.allocate_file import make_problem
    from optimizers.coupons.by_name import Limits
    from optimizers.coupons.table import read_values

    values = read_values(path)
    problem = make_problem(values, Limits())

    def write(plan: Any) -> dict[str, str]:  # noqa: ANN401 - the stage's own plan
        rows = (
            (
                values.customer_ids[n],
                values.offer_ids[plan.choice[n]],
                float(values.profit[n, plan.choice[n]]),
                float(values.cost[n, plan.choice[n]]),
            )
            for n in plan.choice.nonzero()[0]
        )
        return {
            "coupons.csv": csv_text(("customer_id", "offer_id", "expected_incremental_profit", "expected_cost"), rows)
        }

    return CouponStage(problem), write


def _promotions(products: Path, options_file: Path | None, weeks: int, seed: int) -> Way:
    from api.plan_files import promotion_table
    from api.plan_tables import CalendarRules
    from optimizers.budget.stages import PromotionStage

    if options_file is None:
        raise ConfigurationError("--promotions needs the kinds of promotion; give them with --options FILE")
    problem, names = read_calendar(products, options_file, CalendarRules(weeks), seed)
    return PromotionStage(problem), lambda plan: {"promotions.csv": promotion_table(problem, plan, names)}


def _prices(settings: Settings) -> Way:
    from api.frontier import hard_rows, point_prices
    from api.price_choice import as_solved
    from api.price_stage import pose_prices
    from api.show import shown_progress
    from engine.progress import Stopwatch
    from engine.sources import open_shop
    from optimizers.budget.stages import PriceStage

    with shown_progress(sys.stderr) as progress:
        watch = Stopwatch(progress)
        with watch.stage("load"):
            shop = open_shop(settings.data.source, settings, watch.listener)
        posed = pose_prices(shop, settings, watch)
    stage = PriceStage(as_solved(posed.problem), hard_rows(posed))
    return stage, lambda plan: {"prices.csv": point_prices(posed, plan.price)}


def _record(stages: list[Stage], plan: JointPlan) -> dict[str, Any]:
    from optimizers.budget.joint import word_shadow_price

    names = ("budget", "spend", "objective", "bound", "gap", "shadow_price", "status")
    split = {
        stage.name: {"spend": point.spend, "value": point.value}
        for stage, point in zip(stages, plan.points, strict=True)
    }
    told = {name: getattr(plan, name) for name in names}
    return told | {"split": split, "words": word_shadow_price(plan).english()}


def _print(stages: list[Stage], plans: tuple[JointPlan, ...], out: Path) -> None:
    from optimizers.budget.joint import word_shadow_price

    click.echo("".join(f"{name:>14}" for name in ("budget", "gain", "bound", *(stage.name for stage in stages))))
    for plan in plans:
        amounts = (plan.budget, plan.objective, plan.bound, *(point.spend for point in plan.points))
        click.echo("".join(f"{amount:>14,.0f}" for amount in amounts) + f"   {word_shadow_price(plan).english()}")
    click.echo(f"page: {out / 'budget.html'}")
