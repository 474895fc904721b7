"""What the JSON API takes and gives, as typed models: answers go through them, and OpenAPI is written from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.line_figures import line_figures
from engine.proposal import CouponLine, PriceLine, Reason, State
from engine.store import AuditEvent, JobRun, Page, ProposalHeader


def _null_if_unknown(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_null_if_unknown)]


class Model(BaseModel):
    """Common behaviour of all answers."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class ProposalOut(Model):
    """A proposal without its lines. Money over the horizon, in `currency`."""

    proposal_id: str
    data: str
    state: State
    created_at: datetime
    created_by: str
    submitted_by: str | None
    horizon_weeks: int
    currency: str
    summary: dict[str, Any] = Field(description="What summary.json holds.")


class ReasonOut(Model):
    """A sentence as a template and its values; a value may be such a sentence itself. `why` is the whole in English."""

    code: str = Field(description="The template, in English; the catalogues of translations know it by this text.")
    values: dict[str, ReasonOut | bool | Number | str]

    @classmethod
    def of(cls, reason: Reason) -> ReasonOut:
        """Put a sentence into its form."""
        return cls(
            code=reason.code,
            values={name: cls.of(one) if isinstance(one, Reason) else one for name, one in reason.values.items()},
        )


class ReliefOut(Model):
    """What a little more of a rule would bring: its shadow price."""

    rule: str = Field(description="A setting, such as pricing.index_band, or the name of a business rule.")
    more: float = Field(
        description="How much more of it: a share (0.001 of the index, 0.01 of what a rule measures), or 1 change."
    )
    gain: float = Field(description="Money over the horizon; of the whole plan where lines share the rule.")


class NextBestOut(Model):
    """The best other price that the rules permit."""

    price: float
    cost: float = Field(description="How much less the plan would gain with it, money over the horizon.")
    elasticity: float | None = Field(description="From which on another price is best; null: none near the estimate.")


class LineFiguresOut(Model):
    """What the words of a line say, in numbers."""

    bound_by: list[str] = Field(description="Settings and business rules that kept it from a better price.")
    free_price: float | None = Field(description="The price without them, where known.")
    rule_cost: float | None = Field(description="What they cost this line, money over the horizon; null: nothing.")
    relief: list[ReliefOut]
    next_best: NextBestOut | None
    barred_by: list[str] = Field(description="Rules that leave no other price while the other lines stay.")


class PriceLineOut(Model):
    """One product of a proposal; null: not estimated."""

    product_id: str
    title: str
    category: str
    current_price: Number
    proposed_price: Number
    unit_cost: Number
    units_current: Number
    units_proposed: Number
    profit_current: Number
    profit_proposed: Number
    gain_low: Number = Field(description="5 % quantile of the line's gain.")
    gain_high: Number = Field(description="95 % quantile of the line's gain.")
    elasticity: Number
    elasticity_se: Number
    identified: bool
    why: str
    reason: ReasonOut
    figures: LineFiguresOut


class CouponLineOut(Model):
    """One customer who is sent an offer, or was drawn at random and got none (an empty offer_id)."""

    customer_id: str
    offer_id: str
    expected_incremental_profit: Number
    expected_cost: Number
    explored: bool
    propensity: Number


class AuditEventOut(Model):
    """One event in the life of a proposal, hashed over the event before it in the whole audit."""

    sequence: int
    at: datetime
    actor: str
    subject: str
    action: str
    from_state: str | None
    to_state: str | None
    why: str
    detail: dict[str, Any]
    previous_sha256: str
    sha256: str


class PageOut(Model):
    """Where a list stands; pages count from 1."""

    page: int
    size: int
    total: int
    pages: int


class JobRunOut(Model):
    """One attempt at a job for one slot of its schedule."""

    run_id: int
    job: str
    slot: str
    attempt: int
    state: Literal["running", "done", "failed", "abandoned"]
    started_at: datetime
    finished_at: datetime | None
    result: dict[str, Any]
    error: str | None


class RunsOut(PageOut):
    """One page of job runs, newest first."""

    items: list[JobRunOut]


class JobOut(Model):
    """A scheduled job with its latest runs."""

    name: str
    does: str
    schedule: str | None = Field(description="Cron expression, UTC; null: never.")
    runs: list[JobRunOut]


class ProposalsOut(PageOut):
    """One page of proposals, newest first."""

    items: list[ProposalOut]


class PriceLinesOut(PageOut):
    """One page of price lines."""

    items: list[PriceLineOut]


class CouponLinesOut(PageOut):
    """One page of coupon lines."""

    items: list[CouponLineOut]


class AuditOut(Model):
    """Everything that happened to a proposal, oldest first."""

    items: list[AuditEventOut]


class JobsOut(Model):
    """All jobs."""

    items: list[JobOut]


class ChangeIn(Model):
    """Why a proposal changes its state; needed to reject it or to ask for changes."""

    why: str = ""


class Problem(Model):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


def proposals_out(page: Page[ProposalHeader]) -> ProposalsOut:
    """Put one page of proposals into its form."""
    return ProposalsOut(items=[ProposalOut.model_validate(item) for item in page.items], **_place(page))


def price_lines_out(page: Page[PriceLine]) -> PriceLinesOut:
    """Put one page of price lines into its form."""
    return PriceLinesOut(items=[_price_line_out(line) for line in page.items], **_place(page))


def _price_line_out(line: PriceLine) -> PriceLineOut:
    reason = line.reason
    told = {"why": line.why, "reason": ReasonOut.of(reason), "figures": line_figures(reason)}
    return PriceLineOut.model_validate({**vars(line), **told})


def coupon_lines_out(page: Page[CouponLine]) -> CouponLinesOut:
    """Put one page of coupon lines into its form."""
    return CouponLinesOut(items=[CouponLineOut.model_validate(item) for item in page.items], **_place(page))


def audit_out(events: Sequence[AuditEvent]) -> AuditOut:
    """Put events into their form."""
    return AuditOut(items=[AuditEventOut.model_validate(event) for event in events])


def job_runs_out(runs: Sequence[JobRun]) -> list[JobRunOut]:
    """Put job runs into their form; who ran them stays inside."""
    names = JobRunOut.model_fields
    return [JobRunOut(**{name: getattr(run, name) for name in names}) for run in runs]


def runs_out(page: Page[JobRun]) -> RunsOut:
    """Put one page of job runs into its form."""
    return RunsOut(items=job_runs_out(page.items), **_place(page))


def _place(page: Page[Any]) -> dict[str, int]:
    return {"page": page.page, "size": page.size, "total": page.total, "pages": page.pages}
