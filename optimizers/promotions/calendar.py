"""What a promotion calendar brings, exactly: its figures, whoever made it, and what is proven of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.promotions.problem import PromotionProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUNDING = 1e-10
"""Share of turnover below which a bound and a value are the same."""


@dataclass(frozen=True)
class PromotionPlan:
    """The option of every product in every week, what it is expected to bring, and how good it is proven to be."""

    status: str
    """"optimal" (within the gap), "gap_limit" (the gap is honest, and above the one asked for) or "time_limit"."""
    option: Ints
    """(P, W) 0: no promotion; 1…O."""
    units: Floats
    """(P, W) expected."""
    profit: Floats
    """(P, W) expected, fixed costs taken off; money."""
    spend: float
    """What counts against the budget, money."""
    objective: float
    """Expected profit less that without any promotion, less `money_price` · `spend`; money."""
    bound: float
    """No calendar under the same rules gains more, money."""
    gap: float
    budget_price: float = 0.0
    """What one more unit of money in the budget would bring."""
    slot_price: Floats | None = None
    """(S, W) what one more slot would bring, money."""
    priced_bound: float = np.inf
    """`priced_bound` + `budget_price` · (other - budget) is no less than the gain of any calendar under another
    budget."""
    method: str = ""
    """"columns" or "exact"."""
    seconds: float = 0.0


def evaluate_calendar(problem: PromotionProblem, option: Ints) -> PromotionPlan:
    """Say what a given calendar brings, exactly, whether or not it keeps the rules; nothing is proven of it.

    Args:
        problem: products and responses.
        option: (P, W) 0…O.

    Raises:
        ProblemError: a wrong shape or an unknown option.
    """
    option = np.asarray(option, dtype=np.int64)
    shape = (len(problem.product_ids), problem.weeks)
    if option.shape != shape:
        raise ProblemError(f"the calendar has shape {option.shape}, expected {shape}")
    if option.size and not (option.min() >= 0 and option.max() <= len(problem.depth)):
        raise ProblemError(f"options go from 0 to {len(problem.depth)}; {option.min()} … {option.max()} were given")
    units, spend, profit = _calendar_figures(problem, option)
    nothing = _calendar_figures(problem, np.zeros_like(option))[2]
    gain = float(profit.sum() - nothing.sum()) - problem.money_price * spend
    return PromotionPlan("given", option, units, profit, spend, gain, np.inf, np.inf)


def _calendar_figures(problem: PromotionProblem, option: Ints) -> tuple[Floats, float, Floats]:
    """Units (P, W), what counts against the budget, profit (P, W)."""
    depth, fixed = np.append(0.0, problem.depth), np.append(0.0, problem.fixed_cost)
    multiple = own_multiples(problem, option)
    rows = np.arange(len(option))[:, None]
    taken = np.column_stack([np.zeros(len(option)), problem.takes])[rows, option]
    by_category = np.zeros((int(problem.category.max(initial=-1)) + 1, problem.weeks))
    np.add.at(by_category, problem.category, taken)
    base = problem.base_units.T
    units = base * (multiple - (by_category[problem.category] - taken))
    price = problem.price[:, None]
    profit = units * (price * (1 - depth[option]) - problem.unit_cost[:, None]) - fixed[option]
    spend = float((depth[option] * price * base * multiple + fixed[option]).sum())
    return units, spend, profit


def own_multiples(problem: PromotionProblem, option: Ints) -> Floats:
    """(P, W) units as a multiple of base units by the product's own promotions: lift and dip."""
    products = len(option)
    rows = np.arange(products)
    lift = np.column_stack([np.ones(products), problem.lift])
    dip = np.column_stack([problem.dip, np.zeros(products)])
    length = problem.dip.shape[1]
    latest = np.full(products, -length - 1)
    kind = np.zeros(products, dtype=np.int64)
    if problem.last_week is not None and problem.last_option is not None:
        known = problem.last_week < 0
        latest, kind = np.where(known, problem.last_week, latest), np.where(known, problem.last_option, 0)
    multiple = np.empty(option.shape)
    for w in range(problem.weeks):
        lag = np.clip(w - latest, 1, length + 1)
        multiple[:, w] = lift[rows, option[:, w]] - dip[rows, lag - 1] * (lift[rows, kind] - 1)
        on = option[:, w] > 0
        latest, kind = np.where(on, w, latest), np.where(on, option[:, w], kind)
    return multiple


def proven_bound(problem: PromotionProblem, value: float, bound: float) -> float:
    """Return a bound that is not below the value, and the value itself where only rounding is between them."""
    turnover = float((problem.base_units * problem.price).sum())
    return value if bound <= value + ROUNDING * max(turnover, 1.0) else bound
