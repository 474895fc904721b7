"""What the JSON API takes and gives about plans over weeks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from api.schemas import Model, Number

if TYPE_CHECKING:
    from api.week_plans import WeekPlan

MOST_SECONDS = 20.0
"""Time limit of a search inside a request."""
MARKDOWN_PRODUCT = ("product_id", "stock", "left", "sold_out", "money")


class WeekPlanOut(Model):
    """A markdown or a promotion calendar. Money over its weeks."""

    proposal_id: str
    kind: Literal["markdown", "promotions"]
    first_week: int = Field(description="Week of the whole plan that this one begins with, from 1.")
    weeks: int
    gain: Number = Field(description="Over keeping the prices in force.")
    gain_low: Number = Field(description="5 % quantile of the gain.")
    gain_high: Number = Field(description="95 % quantile of the gain.")
    figures: dict[str, Any] = Field(description="Status, objective, bound, gap and what else the summary holds.")
    told: list[str] = Field(description="What it is worth, in words.")
    lines: list[dict[str, Any]] = Field(description="The rows of weeks.csv.")
    products: list[dict[str, Any]] = Field(description="Of a markdown: stock, expected rest and chance to sell out.")
    sold: list[dict[str, Any]] = Field(description="The weeks that are over.")
    replaces: str | None = Field(description="The proposal that was planned again.")


class ReplanIn(Model):
    """What sold since a plan was made."""

    sold: list[dict[str, str | float | None]] = Field(
        min_length=1,
        description="A row for each product and week: of a markdown product_id, week, price, sold, stock; of a "
        "calendar product_id, week, sold, and option where another ran than was planned.",
    )
    seconds: float = Field(default=MOST_SECONDS, ge=0, le=MOST_SECONDS, description="Time limit of the search.")


def week_plan_out(proposal_id: str, record: Mapping[str, Any], plan: WeekPlan, told: Sequence[str]) -> WeekPlanOut:
    """Put a stored plan into its form."""
    return WeekPlanOut(
        proposal_id=proposal_id,
        **{name: getattr(plan, name) for name in ("kind", "first_week", "weeks", "gain", "gain_low", "gain_high")},
        figures=dict(plan.figures),
        told=list(told),
        lines=[dict(zip(plan.columns, line, strict=True)) for line in plan.lines],
        products=[dict(zip(MARKDOWN_PRODUCT, row, strict=True)) for row in plan.products],
        sold=[dict(row) for row in record["sold"]],
        replaces=record.get("replaces"),
    )
