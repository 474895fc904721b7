"""`offerwright markdown` and `offerwright promotions`: plans over weeks, from small tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from api.commands.options import Finite, as_json, current_time, example, operator, print_json, with_settings
from api.commands.tables import read_numbers

if TYPE_CHECKING:
    from api.plan_tables import CalendarRules, PlanTable
    from api.week_planning import PlannedWeeks
    from api.week_plans import KeptPlan, Kind
    from engine.proposal import Reason
    from engine.settings import Settings
    from optimizers.promotions import PromotionProblem

Function = TypeVar("Function", bound=Callable[..., Any])

weeks_option = click.option("--weeks", type=click.IntRange(1, 104), default=8, show_default=True, help="Weeks to plan.")
seconds_option = click.option(
    "--seconds", type=Finite(min=0), default=60.0, show_default=True, help="Time limit of the search."
)
table_argument = click.Path(path_type=Path, exists=True, dir_okay=False)
draws_option = click.option(
    "--draws", type=click.IntRange(1, 5000), default=200, show_default=True, help="Futures judged under."
)
store_option = click.option("--store", "keep", is_flag=True, help="Keep the plan as a proposal (a draft) too.")
replan_option = click.option(
    "--replan",
    metavar="PROPOSAL",
    help="Plan the weeks that are left of a stored plan: its tables and rules, with what --sold says.",
)


def sold_option(columns: str) -> Callable[[Function], Function]:
    """What sold so far, as a table."""
    return click.option("--sold", type=table_argument, help=f"What sold so far: {columns}; the weeks left are planned.")


@click.command(
    epilog=example(
        "offerwright markdown stock.csv --weeks 8 --max-steps 3 --out markdown",
        "offerwright markdown stock.csv --weeks 8 --max-steps 3 --store",
        "offerwright markdown --replan P20261122-0a1b2c3d4e --sold sold.csv --store",
    )
)
@click.argument("stock", type=table_argument, required=False)
@weeks_option
@click.option("--ladder", callback=read_numbers, help="Prices permitted, as shares of the price in force: 1,0.8,0.6.")
@click.option("--may-rise", is_flag=True, help="Prices may also rise again.")
@click.option("--max-steps", type=click.IntRange(min=0), help="Most changes of price of each product.")
@click.option(
    "--min-weeks-between", type=click.IntRange(min=1), default=1, show_default=True, help="Weeks between two changes."
)
@click.option("--max-changed", type=click.IntRange(min=0), help="Most products whose price changes in one week.")
@sold_option("product_id, week (1 …), price, sold, stock (counted after)")
@replan_option
@draws_option
@seconds_option
@store_option
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
    stock: Path | None,
    weeks: int,
    ladder: list[float] | None,
    may_rise: bool,
    max_steps: int | None,
    min_weeks_between: int,
    max_changed: int | None,
    sold: Path | None,
    replan: str | None,
    draws: int,
    seconds: float,
    keep: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Plan the price path that turns a stock into most money by a date; again each week with what sold.

    STOCK holds product_id, stock, price (in force), week_units (expected at that price, or week_units_1 …), elasticity,
    and, if wanted, elasticity_se, level_se, decay, unit_cost, salvage, max_steps.
    """
    from api.plan_tables import LADDER, SOLD, MarkdownRules, PlanTable, read_sold
    from api.week_planning import plan_again, plan_stock
    from api.week_plans import MarkdownInputs

    if replan is not None:
        before, newest = _kept(settings, replan, "markdown", stock, sold)
        planned = plan_again(before, newest, seconds=seconds)
    else:
        rules = MarkdownRules(weeks, tuple(ladder or LADDER), may_rise, max_steps, min_weeks_between, max_changed)
        table = PlanTable.read(_given(stock, "STOCK"), ("product_id", "stock", "price", "elasticity"))
        over = None if sold is None else read_sold(sold, SOLD)
        planned = plan_stock(MarkdownInputs(table, rules, draws, settings.seed), over, seconds=seconds)
    stored = _finish(settings, planned, replan, out, keep=keep)
    _tell({**planned.told, "out": out, "proposal_id": stored}, planned.plan.told, as_json=as_json)


@click.command(
    epilog=example(
        "offerwright promotions products.csv --options options.csv --weeks 12 --budget 5000 --min-gap 3 --store",
        "offerwright promotions --replan P20261122-0a1b2c3d4e --sold sold.csv --store",
    )
)
@click.argument("products", type=table_argument, required=False)
@click.option(
    "--options",
    "options_file",
    type=table_argument,
    help="Kinds of promotion: option, depth (share off), lift, and, if wanted, takes, fixed_cost, slot, slots.",
)
@weeks_option
@click.option("--budget", type=Finite(min=0), help="Money for discounts and fixed costs [default: no limit].")
@click.option(
    "--min-gap", type=click.IntRange(min=1), default=1, show_default=True, help="Weeks between two of a product."
)
@click.option("--max-per-category", type=click.IntRange(min=0), help="Most products of a category in one week.")
@sold_option("product_id, week (1 …), sold, and option where another ran than was planned (with --replan)")
@replan_option
@draws_option
@seconds_option
@store_option
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
    products: Path | None,
    options_file: Path | None,
    weeks: int,
    budget: float | None,
    min_gap: int,
    max_per_category: int | None,
    sold: Path | None,
    replan: str | None,
    draws: int,
    seconds: float,
    keep: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Plan a promotion calendar: which product, in which week, how deep, in which slot.

    PRODUCTS holds product_id, price, unit_cost, base_units (a week without promotion, or base_units_1 …), and, if
    wanted, category, dip_1 … (share of the extra units missing in the weeks after), max_promotions, and lift_NAME or
    takes_NAME where a product answers to an option in its own way; level_se and lift_se, there or in the options, say
    how uncertain units and lifts are (relative standard errors).
    """
    from api.plan_tables import CalendarRules
    from api.week_planning import plan_again, plan_calendar
    from api.week_plans import CalendarInputs

    if replan is not None:
        before, newest = _kept(settings, replan, "promotions", products, sold)
        planned = plan_again(before, newest, seconds=seconds)
    else:
        _refuse_sold(sold)
        rules = CalendarRules(weeks, min_gap, max_per_category, budget)
        tables = calendar_tables(_given(products, "PRODUCTS"), _given(options_file, "--options"))
        planned = plan_calendar(CalendarInputs(*tables, rules, draws, settings.seed), None, None, seconds=seconds)
    stored = _finish(settings, planned, replan, out, keep=keep)
    _tell({**planned.told, "out": out, "proposal_id": stored}, planned.plan.told, as_json=as_json)


def calendar_tables(products: Path, options_file: Path) -> tuple[PlanTable, PlanTable]:
    """Read the tables of a promotion calendar: products, and kinds of promotion."""
    from api.plan_tables import PlanTable

    listed = PlanTable.read(products, ("product_id", "price", "unit_cost"))
    return listed, PlanTable.read(options_file, ("option", "depth", "lift"), "option")


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise click.UsageError(f"give {name}, or --replan PROPOSAL with --sold")
    return path


def _refuse_sold(sold: Path | None) -> None:
    if sold is not None:
        raise click.UsageError("--sold goes with --replan PROPOSAL: the stored calendar says what ran")


def _kept(
    settings: Settings, proposal_id: str, kind: Kind, table: Path | None, sold: Path | None
) -> tuple[KeptPlan, PlanTable]:
    """The stored plan that is to be planned again, and what sold."""
    from api.plan_tables import read_sold
    from api.week_planning import NEEDED
    from api.week_plans import kept_plan_of
    from engine.store import open_store

    if table is not None or sold is None:
        raise click.UsageError("--replan takes tables and rules from the stored plan: give --sold beside it, no table")
    with open_store(settings.store_url, upgrade=True) as store:
        return kept_plan_of(store.proposal(proposal_id), kind), read_sold(sold, NEEDED[kind])


def _finish(settings: Settings, planned: PlannedWeeks, replaces: str | None, out: Path, *, keep: bool) -> str | None:
    """Write table and page, and keep the plan as a draft where that is asked for; its identifier."""
    from api.outputs import write_outputs
    from api.week_page import week_page, week_table
    from api.week_plans import week_proposal
    from engine.store import open_store

    plan, made_of = planned.plan, (planned.inputs, planned.sold)
    draft = week_proposal(plan, *made_of, settings, replaces=replaces, now=current_time(), created_by=operator())
    page = week_page(plan, draft.evidence["notes"], language=settings.server.language)
    if keep:
        with open_store(settings.store_url, upgrade=True) as store:
            store.save_proposal(draft)
    write_outputs({f"{plan.kind}.csv": week_table(plan), f"{plan.kind}.html": page}, out)
    return draft.proposal_id if keep else None


def read_calendar(
    products: Path, options_file: Path, rules: CalendarRules, seed: int
) -> tuple[PromotionProblem, tuple[str, ...]]:
    """Read the tables of a promotion calendar; the problem, and the names of its options."""
    from api.week_plans import DRAWS, CalendarInputs

    inputs = CalendarInputs(*calendar_tables(products, options_file), rules, DRAWS, seed)
    return inputs.problem(), inputs.names


def _tell(figures: dict[str, object], sentences: Sequence[Reason], *, as_json: bool) -> None:
    """Print what the plan is worth: figures by name, and what they mean in sentences."""
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        if value is not None:
            text = f"{value:,.6g}" if isinstance(value, float) else str(value)
            click.echo(f"{name:<16} {text}")
    from api.language import closed, first_capital

    for sentence in sentences:
        click.echo(closed(first_capital(sentence.english())))
