"""Plans over weeks as proposals: what they were made of is kept with them, so that each week they can be made again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from api.fingerprints import code_fingerprint, configuration_fingerprint
from api.plan_tables import (
    LEVEL_SE,
    LIFT_SE,
    CalendarRules,
    MarkdownRules,
    PlanTable,
    markdown_problem,
    promotion_problem,
)
from api.week_lines import CALENDAR_COLUMNS, HIGH, LOW, PATH_COLUMNS, calendar_lines, path_lines
from engine.errors import ConflictError, NotFoundError
from engine.files import to_json
from engine.proposal import Proposal, Reason, State
from engine.settings import Settings
from optimizers.budget.joint import round_amount
from optimizers.markdown import MarkdownPlan, MarkdownProblem
from optimizers.markdown.gains import draw_gains
from optimizers.promotions import PromotionProblem
from optimizers.promotions.calendar import PromotionPlan
from optimizers.promotions.gains import draw_calendar
from optimizers.promotions.plan import word_budget_price

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["markdown", "promotions"]

DRAWS = 200
"""Futures that a plan is judged under, where nobody says how many."""
GAIN_BETWEEN = (
    "with a chance of 90 % the gain lies between {low:,.0f} and {high:,.0f}, as far as level and response are "
    "uncertain; the chance of single weeks comes on top"
)
SPEND_BETWEEN = "what it costs then lies between {low:,.0f} and {high:,.0f}"
ASSUMED_ERRORS = (
    "nobody says how uncertain base units or lifts are: standard errors of {level:.0%} of the base units and twice "
    "{lift:.0%} of the extra units (of each option, and of each product beside it) are assumed"
)
MARKDOWN_WORTH = (
    "the path brings {objective:,.0f}, {more:,.0f} more than keeping today's prices; no path brings more than "
    "{bound:,.0f}, and watching sales and planning again each week could add {adaptive:,.0f} at most"
)
PROMOTION_WORTH = (
    "the calendar gains {objective:,.0f} over no promotion and costs {spend:,.0f} in discounts and fixed costs; no "
    "calendar under the same rules gains more than {bound:,.0f}"
)
REPLANNED = "planned again after {weeks} week(s), with what sold; it takes the place of proposal {proposal}"
NO_WEEKS = "proposal {proposal} holds no plan over weeks; its prices are in prices.csv"
OTHER_PLAN = "proposal {proposal} holds no plan of this kind; plan again with the command that made it"


@dataclass(frozen=True)
class MarkdownInputs:
    """What a markdown is planned from."""

    stock: PlanTable
    rules: MarkdownRules
    draws: int
    seed: int

    def problem(self) -> MarkdownProblem:
        """State it; the same inputs give the same problem."""
        return markdown_problem(self.stock, self.rules, draws=self.draws, rng=np.random.default_rng(self.seed))

    def record(self) -> dict[str, Any]:
        """As the store keeps it."""
        told = {"rules": asdict(self.rules), "draws": self.draws, "seed": self.seed}
        return {"stock": rows_of(self.stock), "table": self.stock.path.name, **told}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> MarkdownInputs:
        """From what the store kept."""
        rules = {**record["rules"], "ladder": tuple(record["rules"]["ladder"])}
        stock = table_of(record["stock"], record["table"], "product_id")
        return cls(stock, MarkdownRules(**rules), record["draws"], record["seed"])


@dataclass(frozen=True)
class CalendarInputs:
    """What a promotion calendar is planned from."""

    products: PlanTable
    options: PlanTable
    rules: CalendarRules
    draws: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """(O,) of the options."""
        return self.options.texts("option")

    @property
    def errors_assumed(self) -> bool:
        """Whether the tables leave open how uncertain base units or lifts are."""
        lifts = "lift_se" in self.products.frame or "lift_se" in self.options.frame
        return not lifts or "level_se" not in self.products.frame

    def problem(self) -> PromotionProblem:
        """State it; the same inputs give the same problem."""
        rng = np.random.default_rng(self.seed)
        return promotion_problem(self.products, self.options, self.rules, draws=self.draws, rng=rng)

    def record(self) -> dict[str, Any]:
        """As the store keeps it."""
        told = {"rules": asdict(self.rules), "table": self.products.path.name, "options_table": self.options.path.name}
        tables = {"products": rows_of(self.products), "options": rows_of(self.options)}
        return {**tables, **told, "draws": self.draws, "seed": self.seed}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> CalendarInputs:
        """From what the store kept."""
        products = table_of(record["products"], record["table"], "product_id")
        options = table_of(record["options"], record["options_table"], "option")
        drawn = record.get("draws", DRAWS), record.get("seed", 1)  # calendars stored before they had draws
        return cls(products, options, CalendarRules(**record["rules"]), *drawn)


def rows_of(table: PlanTable) -> list[dict[str, Any]]:
    """A table as JSON."""
    rows: list[dict[str, Any]] = json.loads(table.frame.to_json(orient="records", double_precision=15))
    return rows


def table_of(rows: Sequence[Mapping[str, Any]], name: str, key: str) -> PlanTable:
    """The table again."""
    frame = pd.DataFrame(list(rows))
    return PlanTable(Path(name), frame.assign(**{key: frame[key].astype(str).to_numpy(dtype=object)}))


@dataclass(frozen=True)
class WeekPlan:
    """A plan over weeks, as page, files and store know it."""

    kind: Kind
    first_week: int
    weeks: int
    lines: tuple[tuple[Any, ...], ...]
    """In the columns of its kind (`columns`)."""
    everyday: Mapping[str, float]
    """Price of each product before the first plan, money per unit."""
    products: tuple[tuple[Any, ...], ...]
    """Of a markdown: product, stock, expected to be left, chance to sell out, money from sales."""
    told: tuple[Reason, ...]
    """What it is worth, in words."""
    figures: Mapping[str, Any]
    """Status, objective, bound, gap and what else the summary holds."""
    gain: float
    """Over keeping the prices in force, money."""
    gain_low: float | None
    gain_high: float | None
    """5 % and 95 % quantile under the draws; None: of a plan that was stored before it had draws."""
    kept: float | None
    """What keeping the prices in force brings, money."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of its lines; plans stored long ago have fewer, from the first on."""
        known = PATH_COLUMNS if self.kind == "markdown" else CALENDAR_COLUMNS
        return known[: len(self.lines[0])] if self.lines else known


def markdown_week_plan(problem: MarkdownProblem, plan: MarkdownPlan, *, first_week: int, seed: int) -> WeekPlan:
    """Write a markdown plan down."""
    adaptive = max(plan.adaptive_bound - plan.objective, 0.0)
    # Two roads to the same money differ by rounding.
    more = 0.0 if math.isclose(plan.objective, plan.kept, rel_tol=1e-12) else plan.objective - plan.kept
    values = {"objective": plan.objective, "more": more, "bound": plan.bound, "adaptive": adaptive}
    low, high = _between(draw_gains(problem, plan.rung, np.random.default_rng(seed)))
    names = ("status", "objective", "bound", "gap", "adaptive_bound")
    by_product = zip(problem.product_ids, problem.stock, plan.leftover, plan.sold_out, plan.revenue, strict=True)
    return WeekPlan(
        kind="markdown",
        first_week=first_week,
        weeks=problem.weeks,
        lines=tuple(path_lines(problem, plan, first_week=first_week)),
        everyday=dict(zip(problem.product_ids, problem.reference_price.tolist(), strict=True)),
        products=tuple((product, *map(float, figures)) for product, *figures in by_product),
        told=(
            Reason(MARKDOWN_WORTH, values),
            Reason(GAIN_BETWEEN, {"low": low, "high": high}),
        ),
        figures={name: getattr(plan, name) for name in names},
        gain=more,
        gain_low=low,
        gain_high=high,
        kept=plan.kept,
    )


def calendar_week_plan(
    problem: PromotionProblem, plan: PromotionPlan, inputs: CalendarInputs, *, first_week: int
) -> WeekPlan:
    """Write a promotion calendar down."""
    draws = draw_calendar(problem, plan.option)
    (low, high), spend = _between(draws.gain), _between(draws.spend)
    names = ("status", "objective", "bound", "gap", "spend", "budget_price")
    figures = {name: getattr(plan, name) for name in names}
    return WeekPlan(
        kind="promotions",
        first_week=first_week,
        weeks=problem.weeks,
        lines=tuple(calendar_lines(problem, plan, inputs.names, first_week=first_week, draws=draws)),
        everyday=dict(zip(problem.product_ids, problem.price.tolist(), strict=True)),
        products=(),
        told=tuple(_tell_calendar(problem, plan, inputs, (low, high), spend)),
        figures=figures | {"spend_low": spend[0], "spend_high": spend[1]},
        gain=plan.objective,
        gain_low=low,
        gain_high=high,
        kept=None,
    )


def _tell_calendar(
    problem: PromotionProblem,
    plan: PromotionPlan,
    inputs: CalendarInputs,
    gain: tuple[float, float],
    spend: tuple[float, float],
) -> Iterator[Reason]:
    values = {"objective": plan.objective, "spend": plan.spend, "bound": plan.bound}
    yield Reason(PROMOTION_WORTH, values)
    yield Reason(GAIN_BETWEEN, {"low": gain[0], "high": gain[1]})
    yield Reason(SPEND_BETWEEN, {"low": spend[0], "high": spend[1]})
    if inputs.errors_assumed:
        yield Reason(ASSUMED_ERRORS, {"level": LEVEL_SE, "lift": LIFT_SE})
    if problem.budget is not None:
        yield word_budget_price(plan, round_amount(problem.budget))


def _between(draws: Floats) -> tuple[float, float]:
    """5 % and 95 % quantile."""
    low, high = np.quantile(draws, (LOW, HIGH))
    return float(low), float(high)


# --- in the store


def week_proposal(
    plan: WeekPlan,
    inputs: MarkdownInputs | CalendarInputs,
    sold: PlanTable | None,
    settings: Settings,
    *,
    replaces: str | None,
    now: datetime,
    created_by: str,
) -> Proposal:
    """A plan over weeks as a draft, with all that it was made of.

    Args:
        plan: written down.
        inputs: its tables and rules.
        sold: of the weeks that are over; None: it is the first plan.
        settings: of the command.
        replaces: the proposal that was planned again.
        now: time of the draft, UTC.
        created_by: who made it, for the audit.
    """
    record, over = inputs.record(), [] if sold is None else rows_of(sold)
    prints = {
        "data": _sha256([record, over]),
        "configuration": configuration_fingerprint(settings),
        "code": code_fingerprint(),
        "seed": str(settings.seed),
        "plan": _sha256(plan.lines),
    }
    identifier = f"P{now:%Y%m%d}-{_sha256([prints, now.isoformat()])[:10]}"
    notes = () if replaces is None else (Reason(REPLANNED, {"weeks": plan.first_week - 1, "proposal": replaces}),)
    weeks = {**asdict(plan), "inputs": record, "sold": over, "replaces": replaces}
    return Proposal(
        proposal_id=identifier,
        data=record["table"],
        state=State.DRAFT,
        created_at=now,
        created_by=created_by,
        horizon_weeks=plan.weeks,
        currency=settings.data.currency,
        summary={"proposal_id": identifier, **_summary(plan, settings), "replaces": replaces, "fingerprints": prints},
        evidence={"notes": [*plan.told, *notes], "faults": [], "prices": None, "coupons": None, "weeks": weeks},
    )


def _summary(plan: WeekPlan, settings: Settings) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "currency": settings.data.currency,
        "products": len(plan.everyday),
        "customers": 0,
        "horizon_weeks": plan.weeks,
        "profit_current": plan.kept,
        "promised_gain": plan.gain,
        "promised_gain_low": plan.gain_low,
        "promised_gain_high": plan.gain_high,
        "promised_gain_share": plan.gain / plan.kept if plan.kept else None,
        "raw_predicted_gain": None,
        "price": None,
        "coupons": None,
        "weeks": {"kind": plan.kind, "first_week": plan.first_week, "weeks": plan.weeks, **plan.figures},
    }


def _sha256(record: object) -> str:
    return hashlib.sha256(to_json(record).encode()).hexdigest()


@dataclass(frozen=True)
class KeptPlan:
    """What the store kept of a plan over weeks."""

    proposal_id: str
    kind: Kind
    inputs: Mapping[str, Any]
    sold: tuple[Mapping[str, Any], ...]
    lines: tuple[tuple[Any, ...], ...]

    def planned(self, inputs: CalendarInputs) -> Ints:
        """(P, W) option of each product and week of the whole calendar: as it ran, or as this plan says."""
        products, names = inputs.products.texts("product_id"), inputs.names
        option = np.zeros((len(products), inputs.rules.weeks), dtype=np.int64)
        ran = [(row["product_id"], row["week"], row.get("option")) for row in self.sold]
        for product, week, name in [*ran, *(line[:3] for line in self.lines)]:
            option[products.index(product), int(week) - 1] = names.index(name) + 1 if name else 0
        return option

    def with_options(self, newest: PlanTable, inputs: CalendarInputs) -> PlanTable:
        """The rows with what ran: the option that they name, or else the one that was planned."""
        if "option" in newest.frame:
            return newest
        planned, products = self.planned(inputs), inputs.products.texts("product_id")
        names = ("", *inputs.names)
        cells = zip(newest.frame["product_id"].astype(str), newest.numbers("week").astype(int), strict=True)
        inside = [(products.index(product), week) if product in products else None for product, week in cells]
        option = ["" if at is None or at[1] > planned.shape[1] else names[planned[at[0], at[1] - 1]] for at in inside]
        return PlanTable(newest.path, newest.frame.assign(option=option))

    def sold_with(self, newest: PlanTable) -> PlanTable:
        """All weeks that are over: the newest rows, and those of earlier weeks that they do not hold."""
        weeks = set(newest.numbers("week").tolist())
        before = [row for row in self.sold if row["week"] not in weeks]
        frame = pd.concat([pd.DataFrame(before), newest.frame], ignore_index=True) if before else newest.frame
        return PlanTable(newest.path, frame.assign(product_id=frame["product_id"].astype(str).to_numpy(dtype=object)))


def kept_plan(proposal: Proposal) -> KeptPlan:
    """The plan over weeks of a stored proposal.

    Raises:
        NotFoundError: it holds none.
    """
    weeks = proposal.evidence.get("weeks")
    if not weeks:
        raise NotFoundError(Reason(NO_WEEKS, {"proposal": proposal.proposal_id}))
    lines = tuple(map(tuple, weeks["lines"]))
    return KeptPlan(proposal.proposal_id, weeks["kind"], weeks["inputs"], tuple(weeks["sold"]), lines)


def kept_plan_of(proposal: Proposal, kind: Kind) -> KeptPlan:
    """The same, of one kind.

    Raises:
        NotFoundError: it holds no plan over weeks.
        ConflictError: it holds one of the other kind.
    """
    kept = kept_plan(proposal)
    if kept.kind != kind:
        raise ConflictError(Reason(OTHER_PLAN, {"proposal": proposal.proposal_id}))
    return kept
