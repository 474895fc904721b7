"""The optimiser's curse, measured: plans made from one half of the sales and judged on the other, both ways.

A plan made from the whole data cannot be judged by the same data. Two half-plans can: each is promised a gain by its
own half's posterior and judged by the other half with another class of model (`engine.demand.judge`). What the halves
could not keep, the whole cannot promise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.demand.judge import judge_plan
from engine.demand.response import Response, estimate_response, read_sales
from engine.errors import InfeasibleError, PlanError, ProblemError
from engine.panel import Panel
from engine.proposal import N_, Reason
from engine.settings import Settings
from optimizers.prices import PricePlan, PriceProblem, evaluate_prices, solve_prices
from optimizers.prices.check import price_index_change

GAP = 1e-3
TIME_SHARE = 0.25
"""Of the time limit of the whole plan, for each half-plan."""
PROMISED_AND_JUDGED = N_(
    "plans made from either half of the sales ({split}) promise {promised:,.0f} ({promised_low:,.0f} … "
    "{promised_high:,.0f}) on average of both; the half that a plan was not made from, judged by another class of "
    "model, gives {judged:,.0f} ({judged_low:,.0f} … {judged_high:,.0f}): {verdict}. This is one way to halve the "
    "sales; another would give somewhat other figures"
)
WITHIN = N_("{kept:.0%} of the promise, within its interval")
BY_CHANCE = N_(
    "{kept:.0%} of the promise, outside its interval, though no further than the errors of promise and judgement allow"
)
NOTHING = N_("nothing was promised")
APART = N_("{kept:.0%} of the promise, further from it than the errors of both allow")


@dataclass(frozen=True)
class HalfPlan:
    """A plan of one half, judged by the other. Money over the horizon, on the scale of the whole shop."""

    promised: float
    promised_low: float
    promised_high: float
    judged: float
    judged_low: float
    judged_high: float
    changed: int
    index_change: float
    """Relative change of the revenue-weighted price index."""
    profit_current: float
    """Profit at today's prices."""

    @property
    def within(self) -> bool:
        """Whether what was judged lies within the promised interval."""
        return self.promised_low <= self.judged <= self.promised_high

    @property
    def agrees(self) -> bool:
        """Whether promise and judgement differ by no more than the half-widths of both intervals allow."""
        return _differ_by_chance(vars(self))


@dataclass(frozen=True)
class Heldout:
    """Both directions together."""

    split: str
    """"households", "stores" or "thinning" (counts split by a fair coin)."""
    plans: tuple[HalfPlan, ...]
    promised: float
    """Mean promise of the half-plans."""
    promised_low: float
    promised_high: float
    judged: float
    judged_low: float
    judged_high: float
    reason: Reason

    @property
    def within(self) -> bool:
        """Whether what was judged lies within the promised interval."""
        return self.promised_low <= self.judged <= self.promised_high

    @property
    def agrees(self) -> bool:
        """Whether promise and judgement differ by no more than the half-widths of both intervals allow."""
        return _differ_by_chance(vars(self))


Planner = Callable[[PriceProblem, float, float], PricePlan]
"""Problem, gap, seconds → plan."""


def _by_settings(problem: PriceProblem, gap: float, seconds: float) -> PricePlan:
    return solve_prices(problem, gap=gap, seconds=seconds)


@dataclass(frozen=True)
class HalfResponses:
    """The response of one half, told twice from one reading of its sales."""

    blind: Response
    """Without words: what the halves share must not make them agree."""
    told: Response
    """With words, as the whole shop's; plans are made from it."""


def answer_half(half: Panel, settings: Settings, text: npt.NDArray[np.float32] | None) -> HalfResponses:
    """Estimate the response of one half of the sales; `text` is (P, E)."""
    reading = read_sales(half, settings.seed)
    blind = estimate_response(half, settings, seed=settings.seed, reading=reading)
    return HalfResponses(blind, estimate_response(half, settings, text=text, seed=settings.seed, reading=reading))


def judge_halves(
    panel: Panel,
    halves: tuple[Panel, Panel],
    split: str,
    problem: PriceProblem,
    settings: Settings,
    *,
    responses: tuple[Response, Response],
    solve: Planner = _by_settings,
) -> Heldout | None:
    """Plan on each half by its own response and judge on the other.

    None where the held-out sales cannot tell any response, or the rules leave a half no plan.
    """
    first, second = halves
    plans: list[HalfPlan] = []
    for response, other in zip(responses, (second, first), strict=True):
        try:
            plans.append(plan_and_judge(pose_half(problem, response, settings), other, panel, settings, solve))
        except (ProblemError, InfeasibleError, PlanError):
            return None
    return together(split, tuple(plans))


def pose_half(problem: PriceProblem, response: Response, settings: Settings) -> PriceProblem:
    """Pose the whole shop's problem, its level and its rules, with the response as one half sees it."""
    drawn = response.joint_draws(settings.demand.draws, np.random.default_rng([settings.seed, 3]))
    return replace(
        problem,
        own=drawn.own,
        cross=drawn.cross,
        curvature=float(drawn.curvature.mean()),
        curvature_draws=drawn.curvature,
        index_weight=response.index_weight,
        movable=response.identified & (problem.base_units > 0),
        price_low=response.price_low,
        price_high=response.price_high,
    )


def plan_and_judge(
    half: PriceProblem, other: Panel, whole: Panel, settings: Settings, solve: Planner = _by_settings
) -> HalfPlan:
    """Make the plan of one half and judge it by the sales of the other.

    Prices come from the whole shop where the halves have the same series: rebuilt from the purchases of one half they
    are noisy, and the plan was posed at the whole shop's.

    Raises:
        ProblemError: the held-out sales cannot tell any response.
    """
    plan = solve(half, GAP, settings.pricing.seconds * TIME_SHARE)
    draws = evaluate_prices(half, plan.price).gain_draws
    judged = judge_plan(
        other,
        current_price=half.current_price,
        price=plan.price,
        unit_cost=half.unit_cost,
        base_units=half.base_units,
        seed=settings.seed,
        prices_from=whole if other.units.shape == whole.units.shape else None,
    )
    low, high = np.quantile(draws, (0.05, 0.95))
    return HalfPlan(
        promised=float(draws.mean()),
        promised_low=float(low),
        promised_high=float(high),
        judged=judged.gain,
        judged_low=judged.gain_low,
        judged_high=judged.gain_high,
        changed=int(np.sum(plan.price != half.current_price)),
        index_change=price_index_change(half, plan.price),
        profit_current=judged.profit_current,
    )


def _differ_by_chance(figures: Mapping[str, float]) -> bool:
    promised = (figures["promised_high"] - figures["promised_low"]) / 2
    judged = (figures["judged_high"] - figures["judged_low"]) / 2
    return abs(figures["promised"] - figures["judged"]) <= float(np.hypot(promised, judged))


def together(split: str, plans: tuple[HalfPlan, ...]) -> Heldout:
    """Take the means of both directions; the widths are averaged, as both halves see the same shop and err together."""
    mean = {
        name: float(np.mean([getattr(plan, name) for plan in plans]))
        for name in ("promised", "promised_low", "promised_high", "judged", "judged_low", "judged_high")
    }
    reason = Reason(PROMISED_AND_JUDGED, {"split": split, **mean, "verdict": _verdict(mean)})
    return Heldout(split, plans, reason=reason, **mean)


def _verdict(mean: Mapping[str, float]) -> Reason:
    """Compare both ways: with what the promise allows, and with what the errors of both allow."""
    if mean["promised"] <= 0:
        return Reason(NOTHING)
    kept = mean["judged"] / mean["promised"]
    if mean["promised_low"] <= mean["judged"] <= mean["promised_high"]:
        return Reason(WITHIN, {"kept": kept})
    return Reason(BY_CHANCE if _differ_by_chance(mean) else APART, {"kept": kept})
