"""What the JSON API takes and gives about frontiers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.frontiers import MOST_LEVELS
from api.language import say
from api.schemas import Model, Number
from engine.proposal import FrontierPlan
from engine.store import FrontierRequest

Measure = Literal["index", "units", "revenue", "investment"]


class FrontierIn(Model):
    """What is limited, and to which levels."""

    measure: Measure = Field(
        description="Price index (at most this change), units or revenue (at least this change), "
        "investment: money given away by lower prices (at most)."
    )
    levels: list[float] = Field(
        default_factory=list,
        max_length=MOST_LEVELS,
        description="Shares, of the investment money; none: some around where the best prices stand.",
    )


class TakeIn(Model):
    """Nothing has to be said to take a point."""


class PointHeadOut(Model):
    """One point of a frontier: the best prices at one level of a limit. Money over the horizon."""

    number: int = Field(description="From 1; it stays the same.")
    measure: Measure
    level: Number = Field(description="The limit: a share, of the investment money; null: no limit.")
    reached: Number
    gain: Number
    gain_low: Number = Field(description="5 % quantile of the plan's gain.")
    gain_high: Number = Field(description="95 % quantile of the plan's gain.")
    bound: Number = Field(description="No prices at this level gain more.")
    gap: Number


class PointLineOut(Model):
    """A product at one point."""

    product_id: str
    price: Number
    units: Number
    profit: Number
    gain_low: Number
    gain_high: Number


class PointOut(PointHeadOut):
    """A point with the products that sell or earn otherwise than today."""

    lines: list[PointLineOut]


class RequestOut(Model):
    """A frontier that was asked for."""

    request_id: str
    proposal_id: str
    measure: Measure
    levels: list[float]
    asked_by: str
    asked_at: datetime
    state: Literal["waiting", "running", "done", "failed"]
    stage: str = Field(description="What is being worked on.")
    share: float = Field(description="Of the stage that is done, 0 to 1.")
    error: str | None
    unreachable: list[float] = Field(description="Levels that no prices under the rules keep.")


class FrontiersOut(Model):
    """The points of a proposal's frontiers, and what was asked for."""

    points: list[PointHeadOut]
    requests: list[RequestOut]


def frontiers_out(points: Sequence[FrontierPlan], requests: Sequence[FrontierRequest]) -> FrontiersOut:
    """Put points and requests into their form."""
    heads = [PointHeadOut(**_head(number, point)) for number, point in enumerate(points, 1)]
    return FrontiersOut(points=heads, requests=[request_out(one) for one in requests])


def point_out(number: int, point: FrontierPlan) -> PointOut:
    """Put a point into its form."""
    lines = [PointLineOut.model_validate(line) for line in point.lines]
    return PointOut(**_head(number, point), lines=lines)


def request_out(one: FrontierRequest) -> RequestOut:
    """Put a request into its form."""
    names = ("request_id", "proposal_id", "measure", "asked_by", "asked_at", "state", "stage", "share")
    return RequestOut(
        **{name: getattr(one, name) for name in names},
        levels=list(one.levels),
        unreachable=list(one.unreachable),
        error=None if one.error is None else say(one.error, str),
    )


def _head(number: int, point: FrontierPlan) -> dict[str, Any]:
    return {"number": number} | {name: getattr(point, name) for name in PointHeadOut.model_fields if name != "number"}
