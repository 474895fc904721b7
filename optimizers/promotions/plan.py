"""The promotion calendar: which product is promoted in which week, how deep, and in which slot.

The calendar is judged over its whole length: what a promotion sells more in its week, what shoppers who stocked up buy
less in the weeks after it (the post-promotion dip), and what it takes from the other products of its category in the
same week. Sources: Blattberg and Neslin, "Sales Promotion: Concepts, Methods, and Strategies", 1990; Cohen, Leung,
Panchamgam, Perakis and Smith, "The Impact of Linear Optimization on Promotion Planning", Operations Research, 2017.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason
from optimizers.solver import relative_gap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUNDING = 1e-10
"""Share of turnover below which a bound and a value are the same."""
SHORT = (
    "together, promotions of one week would take more from a product of the category than it sells; "
    "lower `takes` or `dip`, or set max_per_category"
)
BUDGET_WORTH = "one more {amount:,.0f} in the promotion budget would bring {gain:,.0f} at most"


@dataclass(frozen=True)
class PromotionProblem:
    """P products, W weeks, O kinds of promotion, S kinds of slot, dips of L weeks. Option 0 is no promotion.

    Units of product i in week w under option o, if its promotion before was option o' and l weeks ago:
        base_units_wi · (lift_io - dip_il · (lift_io' - 1) - Σ_j takes_j,o(j))
    lift is 1 for no promotion; the dip is that of the latest promotion only and ends after L weeks; j runs over the
    other products of the category that are promoted in that week.

    Raises:
        ProblemError: a shape, a NaN, a depth out of range, units that would fall below 0; names product and remedy.
    """

    product_ids: tuple[str, ...]
    price: Floats
    """(P,) everyday price, money per unit."""
    unit_cost: Floats
    """(P,) money per unit."""
    base_units: Floats
    """(W, P) expected units without any promotion."""
    category: Ints
    """(P,) category (substitution group) 0…C-1."""
    depth: Floats
    """(O,) share off the price; 0 for a display at full price."""
    lift: Floats
    """(P, O) expected units in the week of the promotion, as a multiple of those without."""
    takes: Floats
    """(P, O) share of their base units that each other product of the category loses in that week."""
    dip: Floats
    """(P, L) share of the extra units that is missing in each of the next L weeks; L may be 0."""
    fixed_cost: Floats
    """(O,) money for each promotion: page, display, labels."""
    slot: Ints
    """(O,) kind of slot that the option takes one of, 0…S-1; -1: none."""
    slots: Floats
    """(S, W) slots there are in each week; infinite: no limit."""
    min_gap: int = 1
    """Weeks from one promotion of a product to its next, at least."""
    max_promotions: Ints | None = None
    """(P,) most promotions of each product; None: no limit."""
    max_per_category: int | None = None
    """Most products of one category promoted in one week; None: no limit."""
    budget: float | None = None
    """Money for the whole calendar: discounts given on the units sold on promotion, before what other promotions take
    from them, and fixed costs; None: no limit."""
    money_price: float = 0.0
    """What each unit of money that counts against the budget is charged beyond itself: the price of a budget that is
    shared with others. The objective is the gain less this."""
    last_week: Ints | None = None
    """(P,) week of the latest promotion before the calendar, -1 for the week before it, -2 …; 0: none."""
    last_option: Ints | None = None
    """(P,) its option 1…O."""
    level_draws: Floats | None = None
    """(D, P) draws of the relative error of base units, mean 1; None: what is uncertain is not known."""
    lift_draws: Floats | None = None
    """(D, P, O) draws of the relative error of extra units (lift - 1), mean 1. Plans are made for expected units; the
    draws say how far what comes may be from that (`gains.draw_calendar`)."""

    def __post_init__(self) -> None:
        from optimizers.promotions.check_input import check_promotion_problem

        check_promotion_problem(self)

    @property
    def weeks(self) -> int:
        """W."""
        return len(self.base_units)

    def most_together(self, week: int) -> int:
        """Most promotions that one category can have in a week, by its own limit and the slots."""
        most = len(self.product_ids) if self.max_per_category is None else self.max_per_category
        if (self.slot >= 0).all() and len(self.slot):
            used = np.unique(self.slot)
            most = int(min(most, self.slots[used, week].sum()))
        return most


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


def plan_promotions(
    problem: PromotionProblem, method: str = "auto", *, gap: float = 1e-4, seconds: float = 60.0
) -> PromotionPlan:
    """Choose the calendar that gains most.

    Args:
        problem: products, responses and rules.
        method: "columns" (a product's whole calendar is a column; any size), "exact" (one integer program, declared in
            Pyomo and solved by HiGHS), or "auto": columns, and the exact program where columns leave a gap and it is
            small.
        gap: relative gap at which the search may stop.
        seconds: time limit.

    Returns:
        A calendar that keeps every rule; no promotion at all at the worst.

    Raises:
        ProblemError: the method is unknown.
    """
    from optimizers.promotions.columns import plan_by_columns
    from optimizers.promotions.model import is_small, plan_exactly

    if method not in ("auto", "columns", "exact"):
        raise ProblemError(f"method {method!r} is unknown; choose auto, columns or exact")
    begun = time.perf_counter()
    if method == "exact":
        plan = plan_exactly(problem, gap=gap, seconds=seconds)
    else:
        plan = plan_by_columns(problem, gap=gap, seconds=seconds)
        left = seconds - (time.perf_counter() - begun)
        if method == "auto" and plan.gap > gap and left > 0 and is_small(problem):
            plan = _better(problem, plan, plan_exactly(problem, gap=gap, seconds=left, start=plan.option), gap)
    return replace(plan, seconds=time.perf_counter() - begun)


def proven_bound(problem: PromotionProblem, value: float, bound: float) -> float:
    """Return a bound that is not below the value, and the value itself where only rounding is between them."""
    turnover = float((problem.base_units * problem.price).sum())
    return value if bound <= value + ROUNDING * max(turnover, 1.0) else bound


def _better(problem: PromotionProblem, columns: PromotionPlan, exact: PromotionPlan, gap: float) -> PromotionPlan:
    """The better calendar with the better bound, and the prices that columns found."""
    held = exact if exact.objective > columns.objective else columns
    bound = proven_bound(problem, held.objective, min(columns.bound, exact.bound))
    reached = relative_gap(held.objective, bound)
    return replace(
        held,
        bound=bound,
        gap=reached,
        status="optimal" if reached <= gap else exact.status,
        budget_price=columns.budget_price,
        slot_price=columns.slot_price,
        priced_bound=columns.priced_bound,
    )


def advance_calendar(
    problem: PromotionProblem, plan: PromotionPlan, sold: Floats, *, prior_weeks: float = 4.0
) -> PromotionProblem:
    """State the problem that is left after the first week of a plan was carried out.

    The level of each product's base units is learned from what sold: gamma belief, Poisson sales, the prior worth
    `prior_weeks` weeks of expected sales. What was promoted is remembered for gap and dip; what was spent leaves the
    budget.

    Args:
        problem: what was planned.
        plan: its plan.
        sold: (P,) units sold in the first week.
        prior_weeks: weight of what was expected, in weeks.

    Raises:
        ProblemError: no week is left, or units that are none.
    """
    products = len(problem.product_ids)
    if problem.weeks < 2:
        raise ProblemError("the last week is over: nothing is left to plan")
    if np.shape(sold) != (products,) or not (np.isfinite(sold) & (sold >= 0)).all():
        raise ProblemError(f"sold must be {products} numbers of units, 0 or more; {sold} was given")
    expected = plan.units[:, 0]
    prior = np.maximum(prior_weeks * expected, 1e-9)
    level = (prior + sold) / (prior + expected)
    on = plan.option[:, 0] > 0
    week = problem.last_week if problem.last_week is not None else np.zeros(products, dtype=np.int64)
    kind = problem.last_option if problem.last_option is not None else np.zeros(products, dtype=np.int64)
    promoted = problem.max_promotions
    return replace(
        problem,
        base_units=problem.base_units[1:] * level,
        slots=problem.slots[:, 1:],
        max_promotions=None if promoted is None else np.maximum(promoted - on, 0),
        budget=None if problem.budget is None else max(problem.budget - _first_week_spend(problem, plan), 0.0),
        last_week=np.where(on, -1, np.where(week < 0, week - 1, 0)),
        last_option=np.where(on, plan.option[:, 0], kind),
    )


def _first_week_spend(problem: PromotionProblem, plan: PromotionPlan) -> float:
    first = np.zeros_like(plan.option)
    first[:, 0] = plan.option[:, 0]
    return evaluate_calendar(problem, first).spend


def word_budget_price(plan: PromotionPlan, amount: float) -> Reason:
    """Say what a budget larger by an amount of money would bring, at most."""
    return Reason(BUDGET_WORTH, {"amount": amount, "gain": amount * plan.budget_price})
