"""`offerwright markdown` and `offerwright promotions`: plans over weeks, from small tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.options import as_json, example, print_json, with_settings
from api.commands.tables import read_numbers

if TYPE_CHECKING:
    from api.plan_tables import CalendarRules
    from engine.settings import Settings
    from optimizers.promotions import PromotionProblem

weeks_option = click.option("--weeks", type=click.IntRange(1, 104), default=8, show_default=True, help="Weeks to plan.")
seconds_option = click.option(
    "--seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Time limit of the search."
)
table_argument = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    epilog=example(
        "offerwright markdown stock.csv --weeks 8 --max-steps 3 --out markdown",
        "offerwright markdown stock.csv --weeks 8 --max-steps 3 --sold sold.csv",
    )
)
@click.argument("stock", type=table_argument)
@weeks_option
@click.option("--ladder", callback=read_numbers, help="Prices permitted, as shares of the price in force: 1,0.8,0.6.")
@click.option("--may-rise", is_flag=True, help="Prices may also rise again.")
@click.option("--max-steps", type=click.IntRange(min=0), help="Most changes of price of each product.")
@click.option(
    "--min-weeks-between", type=click.IntRange(min=1), default=1, show_default=True, help="Weeks between two changes."
)
@click.option("--max-changed", type=click.IntRange(min=0), help="Most products whose price changes in one week.")
@click.option(
    "--sold",
    type=table_argument,
    help="What sold so far: product_id, week (1 …), price, sold, stock (counted after); the weeks left are planned.",
)
@click.option("--draws", type=click.IntRange(1, 5000), default=200, show_default=True, help="Futures judged under.")
@seconds_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("markdown"),
    show_default=True,
    help="Folder for markdown.csv and markdown.html.",
)
@as_json
@with_settings
def markdown(
    settings: Settings,
    stock: Path,
    weeks: int,
    ladder: list[float] | None,
    may_rise: bool,
    max_steps: int | None,
    min_weeks_between: int,
    max_changed: int | None,
    sold: Path | None,
    draws: int,
    seconds: float,
    out: Path,
    as_json: bool,
) -> None:
    """Plan the price path that turns a stock into most money by a date; again each week with what sold.

    STOCK holds product_id, stock, price (in force), week_units (expected at that price, or week_units_1 …), elasticity,
    and, if wanted, elasticity_se, level_se, decay, unit_cost, salvage, max_steps.
    """
    import numpy as np

    from api.outputs import write_outputs
    from api.plan_files import markdown_page, markdown_table
    from api.plan_tables import LADDER, MarkdownRules, PlanTable, after_sales, markdown_problem
    from optimizers.markdown import plan_markdown
    from optimizers.markdown.check import check_markdown_plan

    rules = MarkdownRules(weeks, tuple(ladder or LADDER), may_rise, max_steps, min_weeks_between, max_changed)
    table = PlanTable.read(stock, ("product_id", "stock", "price", "elasticity"))
    problem = markdown_problem(table, rules, draws=draws, rng=np.random.default_rng(settings.seed))
    problem, over = (problem, 0) if sold is None else after_sales(problem, sold)
    plan = plan_markdown(problem, seconds=seconds)
    check_markdown_plan(problem, plan)
    page = markdown_page(problem, plan, first_week=over + 1, language=settings.server.language)
    write_outputs({"markdown.csv": markdown_table(problem, plan, over + 1), "markdown.html": page}, out)
    names = ("status", "objective", "bound", "gap", "kept", "adaptive_bound", "seconds")
    told = {name: getattr(plan, name) for name in names}
    told |= {"weeks_over": over, "weeks_left": problem.weeks, "left": float(plan.leftover.sum()), "out": out}
    _tell(told, as_json=as_json)


@click.command(
    epilog=example("offerwright promotions products.csv --options options.csv --weeks 12 --budget 5000 --min-gap 3")
)
@click.argument("products", type=table_argument)
@click.option(
    "--options",
    "options_file",
    type=table_argument,
    required=True,
    help="Kinds of promotion: option, depth (share off), lift, and, if wanted, takes, fixed_cost, slot, slots.",
)
@weeks_option
@click.option("--budget", type=click.FloatRange(min=0), help="Money for discounts and fixed costs [default: no limit].")
@click.option(
    "--min-gap", type=click.IntRange(min=1), default=1, show_default=True, help="Weeks between two of a product."
)
@click.option("--max-per-category", type=click.IntRange(min=0), help="Most products of a category in one week.")
@seconds_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("promotions"),
    show_default=True,
    help="Folder for promotions.csv and promotions.html.",
)
@as_json
@with_settings
def promotions(
    settings: Settings,
    products: Path,
    options_file: Path,
    weeks: int,
    budget: float | None,
    min_gap: int,
    max_per_category: int | None,
    seconds: float,
    out: Path,
    as_json: bool,
) -> None:
    """Plan a promotion calendar: which product, in which week, how deep, in which slot.

    PRODUCTS holds product_id, price, unit_cost, base_units (a week without promotion, or base_units_1 …), and, if
    wanted, category, dip_1 … (share of the extra units missing in the weeks after), max_promotions, and lift_NAME or
    takes_NAME where a product answers to an option in its own way.
    """
    from api.outputs import write_outputs
    from api.plan_files import promotion_page, promotion_table
    from api.plan_tables import CalendarRules
    from optimizers.promotions import plan_promotions
    from optimizers.promotions.check import check_promotion_plan

    rules = CalendarRules(weeks, min_gap, max_per_category, budget)
    problem, names = read_calendar(products, options_file, rules)
    plan = plan_promotions(problem, seconds=seconds)
    check_promotion_plan(problem, plan)
    page = promotion_page(problem, plan, names, language=settings.server.language)
    write_outputs({"promotions.csv": promotion_table(problem, plan, names), "promotions.html": page}, out)
    told = {name: getattr(plan, name) for name in ("status", "objective", "bound", "gap", "spend", "budget_price")}
    told |= {"promotions": int((plan.option > 0).sum()), "method": plan.method, "seconds": plan.seconds, "out": out}
    _tell(told, as_json=as_json)


def read_calendar(products: Path, options_file: Path, rules: CalendarRules) -> tuple[PromotionProblem, tuple[str, ...]]:
    """Read the tables of a promotion calendar; the problem, and the names of its options."""
    from api.plan_tables import PlanTable, promotion_problem

    listed = PlanTable.read(products, ("product_id", "price", "unit_cost"))
    kinds = PlanTable.read(options_file, ("option", "depth", "lift"), "option")
    return promotion_problem(listed, kinds, rules), kinds.texts("option")


def _tell(told: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        text = f"{value:,.6g}" if isinstance(value, float) else str(value)
        click.echo(f"{name:<16} {text}")
