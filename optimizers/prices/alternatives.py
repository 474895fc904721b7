"""For every line the best other price, its cost, and which elasticity would make another price right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.prices.ladder import Ladder
from optimizers.prices.model import Families, RungModel, index_parts, rung_model
from optimizers.prices.solve import PricePlan, PriceProblem, problem_ladder

Floats = npt.NDArray[np.float64]

REACH = 3.0
"""How far from the estimate elasticities are tried."""
TRIED = 121


@dataclass(frozen=True)
class Alternative:
    """The best other price of one product, all other products as planned."""

    price: float
    """Money per unit."""
    cost: float
    """Money by which it is worse over the horizon, the rules that it would use or free at their shadow prices; below 0
    where only a rule stands in its way."""
    elasticity: float | None
    """The own-price elasticity (mean over draws) nearest to the estimate at which some other price is as good as the
    planned one; None: none within 3 of the estimate."""


def best_alternatives(
    problem: PriceProblem, plan: PricePlan, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[Alternative | None, ...]:
    """Find the best other rung of every product, (P,); None where there is no other.

    Args:
        problem: what was asked.
        plan: the answer.
        allowed: (P, K) rungs that the rules permit; None: all.

    Gains are by exact demand for the product's own move, and to first order for what it does to its family; the index
    and the limit on changes are charged at `plan.shadow_prices`. Other rules are not charged.
    """
    ladder = problem_ladder(problem)
    model = rung_model(problem, Families.of(problem), ladder, plan.price)
    toll = _tolls(problem, plan, ladder)
    open_rungs = ladder.rungs if allowed is None else ladder.rungs & allowed
    return tuple(
        _alternative(problem, plan, ladder, model, toll, np.flatnonzero(open_rungs[i]), i)
        for i in range(len(problem.product_ids))
    )


def _tolls(problem: PriceProblem, plan: PricePlan, ladder: Ladder) -> Floats:
    """(P, K) money that each rung pays for the index and for being a change."""
    shadow = plan.shadow_prices
    per_index = (shadow.get("index_up", 0.0) - shadow.get("index_down", 0.0)) * 1e3
    changed = (ladder.price != problem.current_price[:, None]) * shadow.get("max_changed", 0.0)
    return np.asarray(per_index * np.nan_to_num(index_parts(problem, ladder.price)) + changed)


def _alternative(
    problem: PriceProblem,
    plan: PricePlan,
    ladder: Ladder,
    model: RungModel,
    toll: Floats,
    rungs: npt.NDArray[np.int64],
    i: int,
) -> Alternative | None:
    if len(rungs) < 2:
        return None
    price = ladder.price[i, rungs]
    here = int(np.argmin(np.abs(price - plan.price[i])))
    net = model.gain[i, rungs] - toll[i, rungs]
    others = np.delete(np.arange(len(rungs)), here)
    best = int(others[np.argmax(net[others])])
    return Alternative(
        float(price[best]), float(net[here] - net[best]), _turning(problem, model, price, here, toll[i, rungs], i)
    )


def _turning(problem: PriceProblem, model: RungModel, price: Floats, here: int, toll: Floats, i: int) -> float | None:
    """Elasticity nearest to the estimate at which the planned one of some prices (n,) is not the best any more."""
    shifts = np.linspace(-REACH, REACH, TRIED)
    move = np.log(price / problem.current_price[i])
    level = problem.base_units[i] * problem.base_scale[:, i] * model.rest_effect[:, i]
    sold = (level[:, None] * np.exp(problem.own[:, i][:, None] * move)).mean(axis=0)
    units = sold * np.exp(shifts[:, None] * move)
    net = units * (price - problem.unit_cost[i]) + model.slope[i] * np.log(price / model.around[i]) - toll
    left = np.flatnonzero(net.max(axis=1) > net[:, here])
    if not len(left):
        return None
    return float(problem.own[:, i].mean() + shifts[left[np.argmin(np.abs(shifts[left]))]])
