"""The optimiser's curse, measured: plans made from one half of the sales and judged on the other, both ways.

A plan made from the whole data cannot be judged by the same data. Two half-plans can: each is promised a gain by its
own half's posterior and judged by the other half with another class of model (`engine.demand.judge`). What the halves
could not keep, the whole cannot promise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.demand.judge import Judgement, judge_plan
from engine.demand.response import estimate_response
from engine.errors import ProblemError
from engine.panel import Panel
from engine.proposal import Reason
from engine.settings import Settings
from optimizers.prices import PriceProblem, evaluate_prices, solve_prices

Floats = npt.NDArray[np.float64]


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
    def kept(self) -> bool:
        """Whether what was judged lies within the promised interval."""
        return self.promised_low <= self.judged <= self.promised_high


def judge_halves(
    panel: Panel,
    halves: tuple[Panel, Panel],
    split: str,
    problem: PriceProblem,
    settings: Settings,
    *,
    text: npt.NDArray[np.float32] | None,
) -> Heldout | None:
    """Plan on each half and judge on the other; None where the held-out sales cannot tell any response."""
    first, second = halves
    plans: list[HalfPlan] = []
    for own, other in ((first, second), (second, first)):
        half_problem = _half_problem(own, problem, settings, text)
        plan = solve_prices(half_problem, gap=1e-3, seconds=settings.pricing.seconds / 4)
        draws = evaluate_prices(half_problem, plan.price).gain_draws
        try:
            judged = _judge(other, panel, problem, plan.price, settings.seed)
        except ProblemError:
            return None
        low, high = np.quantile(draws, (0.05, 0.95))
        plans.append(
            HalfPlan(
                promised=float(draws.mean()),
                promised_low=float(low),
                promised_high=float(high),
                judged=judged.gain,
                judged_low=judged.gain_low,
                judged_high=judged.gain_high,
                changed=int(np.sum(plan.price != problem.current_price)),
            )
        )
    return _together(split, tuple(plans))


def _half_problem(
    half: Panel, problem: PriceProblem, settings: Settings, text: npt.NDArray[np.float32] | None
) -> PriceProblem:
    """The whole shop's problem with the response as one half sees it."""
    response = estimate_response(half, settings, text=text, seed=settings.seed)
    own, cross = response.draws(settings.demand.draws, np.random.default_rng([settings.seed, 3]))
    return replace(
        problem,
        own=own,
        cross=cross,
        movable=response.identified & (problem.base_units > 0),
        price_low=response.price_low,
        price_high=response.price_high,
    )


def _judge(other: Panel, whole: Panel, problem: PriceProblem, price: Floats, seed: int) -> Judgement:
    return judge_plan(
        other,
        current_price=problem.current_price,
        price=price,
        unit_cost=problem.unit_cost,
        base_units=problem.base_units,
        seed=seed,
        prices_from=whole if other.units.shape == whole.units.shape else None,
    )


def _together(split: str, plans: tuple[HalfPlan, ...]) -> Heldout:
    """Means of both directions; the widths are averaged, as both halves see the same shop and err together."""
    mean = {
        name: float(np.mean([getattr(plan, name) for plan in plans]))
        for name in ("promised", "promised_low", "promised_high", "judged", "judged_low", "judged_high")
    }
    reason = Reason(
        "plans made from one half of the sales ({split}) promise {promised:,.0f} ({promised_low:,.0f} … "
        "{promised_high:,.0f}); the other half, judged by another class of model, gives {judged:,.0f} "
        "({judged_low:,.0f} … {judged_high:,.0f})",
        {"split": split, **mean},
    )
    return Heldout(split, plans, reason=reason, **mean)
