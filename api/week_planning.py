"""Plans over weeks made from tables, for the first time or again with what sold: the same for commands and JSON API."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from api.plan_tables import PROMOTED, SOLD, PlanTable, after_promotions, after_sales, require_columns
from api.week_plans import (
    CalendarInputs,
    KeptPlan,
    Kind,
    MarkdownInputs,
    WeekPlan,
    calendar_week_plan,
    kept_plan,
    markdown_week_plan,
    week_proposal,
)
from engine.errors import DataError
from engine.proposal import Proposal, Reason
from engine.settings import Settings
from optimizers.markdown import plan_markdown
from optimizers.markdown.check import check_markdown_plan
from optimizers.promotions import plan_promotions
from optimizers.promotions.check import check_promotion_plan

NEEDED: Mapping[Kind, tuple[str, ...]] = {"markdown": SOLD, "promotions": PROMOTED}
"""Columns of what sold."""
NO_TABLE = "what sold cannot be read as a table ({why}); give CSV with the columns {columns}"
_SENT = Path("sold")
"""What messages call a table that was sent, not read from a file."""


@dataclass(frozen=True)
class PlannedWeeks:
    """A plan over weeks with what it was made of."""

    plan: WeekPlan
    inputs: MarkdownInputs | CalendarInputs
    sold: PlanTable | None
    """Of all weeks that are over; None: none is."""
    told: Mapping[str, Any]
    """Figures that a command prints."""


def plan_stock(inputs: MarkdownInputs, over: PlanTable | None, *, seconds: float) -> PlannedWeeks:
    """Plan a markdown.

    Args:
        inputs: table and rules.
        over: what sold in the weeks that are over (`SOLD`).
        seconds: time limit of the search.

    Raises:
        DataError, ProblemError: a table, or what it states, is refused by product and value.
        PlanError: the plan failed its re-check.
    """
    problem, gone = (inputs.problem(), 0) if over is None else after_sales(inputs.problem(), over)
    plan = plan_markdown(problem, seconds=seconds)
    check_markdown_plan(problem, plan)
    written = markdown_week_plan(problem, plan, first_week=gone + 1, seed=inputs.seed)
    names = ("status", "objective", "bound", "gap", "kept", "adaptive_bound", "seconds")
    told = {name: getattr(plan, name) for name in names} | {"left": float(plan.leftover.sum())}
    return PlannedWeeks(written, inputs, over, told | _figures(written, gone))


def plan_calendar(
    inputs: CalendarInputs, before: KeptPlan | None, over: PlanTable | None, *, seconds: float
) -> PlannedWeeks:
    """Plan a promotion calendar.

    Args:
        inputs: tables and rules.
        before: the plan that was carried out, if one was.
        over: what sold and what ran in the weeks that are over (`PROMOTED`).
        seconds: time limit of the search.

    Raises:
        DataError, ProblemError: a table, or what it states, is refused by product and value.
        PlanError: the plan failed its re-check.
    """
    problem, gone = inputs.problem(), 0
    if before is not None and over is not None:
        problem, gone = after_promotions(problem, before.planned(inputs), inputs.names, over)
    plan = plan_promotions(problem, seconds=seconds)
    check_promotion_plan(problem, plan)
    written = calendar_week_plan(problem, plan, inputs, first_week=gone + 1)
    told = {name: getattr(plan, name) for name in ("status", "objective", "bound", "gap", "spend", "budget_price")}
    told |= {"promotions": int((plan.option > 0).sum()), "method": plan.method, "seconds": plan.seconds}
    return PlannedWeeks(written, inputs, over, told | _figures(written, gone))


def _figures(plan: WeekPlan, gone: int) -> dict[str, float | None]:
    gain = {name: getattr(plan, name) for name in ("gain", "gain_low", "gain_high")}
    return {**gain, "weeks_over": gone, "weeks_left": plan.weeks}


def plan_again(before: KeptPlan, newest: PlanTable, *, seconds: float) -> PlannedWeeks:
    """Plan the weeks that are left of a stored plan, from its own tables and rules.

    Args:
        before: what the store kept.
        newest: what sold since; earlier weeks that it does not hold are those kept with the plan.
        seconds: time limit of the search.

    Raises:
        As `plan_stock` and `plan_calendar`.
    """
    if before.kind == "markdown":
        return plan_stock(MarkdownInputs.of(before.inputs), before.sold_with(newest), seconds=seconds)
    inputs = CalendarInputs.of(before.inputs)
    over = before.sold_with(before.with_options(newest, inputs))
    return plan_calendar(inputs, before, over, seconds=seconds)


def draft_again(
    proposal: Proposal, newest: PlanTable, settings: Settings, *, seconds: float, now: datetime, created_by: str
) -> Proposal:
    """The plan of the weeks that are left of a stored proposal, as a draft that takes its place.

    Args:
        proposal: it holds a plan over weeks.
        newest: what sold since.
        settings: of the store.
        seconds: time limit of the search.
        now: time of the draft, UTC.
        created_by: who asked, for the audit.

    Raises:
        NotFoundError: it holds none.
        As `plan_again`.
    """
    planned = plan_again(kept_plan(proposal), newest, seconds=seconds)
    made_of = (planned.plan, planned.inputs, planned.sold, settings)
    return week_proposal(*made_of, replaces=proposal.proposal_id, now=now, created_by=created_by)


def sold_rows(frame: pd.DataFrame, kind: Kind) -> PlanTable:
    """What sold, as it was sent.

    Raises:
        DataError: a column is missing.
    """
    require_columns(frame, NEEDED[kind], _SENT)
    return PlanTable(_SENT, frame.assign(product_id=frame["product_id"].astype(str).to_numpy(dtype=object)))


def sold_text(text: str, kind: Kind) -> PlanTable:
    """What sold, as it was pasted or uploaded: CSV, or what a spreadsheet copies (tabs, semicolons).

    Raises:
        DataError: it is no table, or a column is missing.
    """
    text = text.removeprefix("\ufeff").strip()
    head = text.partition("\n")[0]
    separator = max(",\t;", key=head.count)
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, dtype={"product_id": str}, skipinitialspace=True)
    except ValueError as error:
        columns = ", ".join(NEEDED[kind])
        raise DataError(Reason(NO_TABLE, {"why": str(error).strip(), "columns": columns})) from error
    return sold_rows(frame.rename(columns=str.strip), kind)


def next_week(proposal: Proposal) -> str:
    """CSV with a row for each product in the first week of a plan, to be filled in with what sold.

    Raises:
        NotFoundError: the proposal holds no plan over weeks.
    """
    kept, week = kept_plan(proposal), int(proposal.evidence["weeks"]["first_week"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if kept.kind == "markdown":
        writer.writerow(SOLD)
        writer.writerows([*line[:2], f"{line[2]:.2f}", "", ""] for line in kept.lines if line[1] == week)
    else:
        inputs = CalendarInputs.of(kept.inputs)
        names, planned = ("", *inputs.names), kept.planned(inputs)[:, week - 1]
        writer.writerow((*PROMOTED, "option"))
        products = inputs.products.texts("product_id")
        writer.writerows((product, week, "", names[option]) for product, option in zip(products, planned, strict=True))
    return text.getvalue()
