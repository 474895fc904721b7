"""A promotion calendar as it is asked: products, responses and rules, and what they must be before it is planned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHORT = (
    "together, promotions of one week would take more from a product of the category than it sells; "
    "lower `takes` or `dip`, or set max_per_category"
)


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


def check_promotion_problem(problem: PromotionProblem) -> None:
    """Refuse a problem that is not well posed.

    Raises:
        ProblemError: names the product or option, the value and the remedy.
    """
    _check_shapes(problem)
    _refuse(problem, problem.price, problem.price > 0, "price", "give a price above 0")
    for name in ("unit_cost", "base_units", "lift", "takes", "dip"):
        values = getattr(problem, name)
        _refuse(problem, values, values >= 0, name, "give 0 or more")
    _check_options(problem)
    _check_rules(problem)
    _check_history(problem)
    _check_draws(problem)
    _check_units(problem)


def _check_shapes(problem: PromotionProblem) -> None:
    products, weeks, options = len(problem.product_ids), len(problem.base_units), len(problem.depth)
    if not weeks:
        raise ProblemError("base_units holds no week; give one row for each week of the calendar")
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("price", "unit_cost", "category", "max_promotions", "last_week", "last_option"), (products,)
    )
    expected |= dict.fromkeys(("lift", "takes"), (products, options))
    expected |= dict.fromkeys(("fixed_cost", "slot"), (options,))
    expected |= {"base_units": (weeks, products), "slots": (len(problem.slots), weeks)}
    for name, shape in expected.items():
        values = getattr(problem, name)
        if values is not None and np.shape(values) != shape:
            raise ProblemError(f"{name} has shape {np.shape(values)}, expected {shape}")
    if problem.dip.ndim != 2 or len(problem.dip) != products:
        raise ProblemError(f"dip has shape {problem.dip.shape}, expected ({products}, weeks of the dip)")
    if products and problem.category.min() < 0:
        raise ProblemError(f"category has the code {problem.category.min()}; number categories from 0")


def _refuse(problem: PromotionProblem, values: npt.ArrayLike, sound: npt.ArrayLike, name: str, remedy: str) -> None:
    """Name the first product with a value that is not finite or not sound; products are rows, or columns of weeks."""
    bad = ~(np.isfinite(values) & np.asarray(sound))
    places = np.argwhere(bad)
    if len(places):
        place = tuple(places[0])
        product = place[1] if name == "base_units" else place[0]
        raise ProblemError(f"product {problem.product_ids[product]}: {name} is {np.asarray(values)[place]}; {remedy}")


def _check_options(problem: PromotionProblem) -> None:
    for number, (depth, fixed, slot) in enumerate(
        zip(problem.depth, problem.fixed_cost, problem.slot, strict=True), start=1
    ):
        if not 0 <= depth < 1:
            raise ProblemError(f"option {number}: its depth is {depth}; give a share of the price from 0 to below 1")
        if not (np.isfinite(fixed) and fixed >= 0):
            raise ProblemError(f"option {number}: its fixed cost is {fixed}; give an amount of 0 or more")
        if not -1 <= slot < len(problem.slots):
            raise ProblemError(f"option {number}: its slot is {slot}; give 0 to {len(problem.slots) - 1}, or -1")


def _check_rules(problem: PromotionProblem) -> None:
    if np.isnan(problem.slots).any() or (problem.slots < 0).any():
        raise ProblemError("slots holds a number below 0 or none; give how many there are in each week")
    if problem.min_gap < 1:
        raise ProblemError(f"min_gap is {problem.min_gap}; give 1 or more weeks")
    if problem.max_promotions is not None:
        _refuse(problem, problem.max_promotions, problem.max_promotions >= 0, "max_promotions", "give 0 or more")
    if problem.max_per_category is not None and problem.max_per_category < 0:
        raise ProblemError(f"max_per_category is {problem.max_per_category}; give 0 or more, or None")
    if not 0 <= problem.money_price < np.inf:
        raise ProblemError(f"money_price is {problem.money_price}; give 0 or more")
    if problem.budget is not None and not 0 <= problem.budget < np.inf:
        raise ProblemError(f"budget is {problem.budget}; give an amount of 0 or more, or None for no limit")


def _check_history(problem: PromotionProblem) -> None:
    if (problem.last_week is None) != (problem.last_option is None):
        raise ProblemError("last_week and last_option belong together; give both or none")
    if problem.last_week is None or problem.last_option is None:
        return
    _refuse(problem, problem.last_week, problem.last_week <= 0, "last_week", "give a week before the calendar, or 0")
    known = (problem.last_week == 0) | ((problem.last_option >= 1) & (problem.last_option <= len(problem.depth)))
    _refuse(problem, problem.last_option, known, "last_option", f"give an option from 1 to {len(problem.depth)}")


def _check_draws(problem: PromotionProblem) -> None:
    level, lift = problem.level_draws, problem.lift_draws
    if (level is None) != (lift is None):
        raise ProblemError("level_draws and lift_draws belong together; give both or none")
    if level is None or lift is None:
        return
    products, options = len(problem.product_ids), len(problem.depth)
    for name, values, shape in (
        ("level_draws", level, (len(level), products)),
        ("lift_draws", lift, (len(level), products, options)),
    ):
        if values.shape != shape or not len(level):
            raise ProblemError(f"{name} has shape {values.shape}, expected {shape} with one draw or more")
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ProblemError(f"{name} holds {values.min()} … {values.max()}; give finite numbers of 0 or more")


def _check_units(problem: PromotionProblem) -> None:
    """Units must not fall below 0 under any permitted calendar."""
    extra = np.maximum(problem.lift - 1, 0).max(axis=1, initial=0.0)
    lowest = np.minimum(problem.lift.min(axis=1, initial=1.0), 1.0) - problem.dip.max(axis=1, initial=0.0) * extra
    most = problem.takes.max(axis=1, initial=0.0)
    together = max((problem.most_together(w) for w in range(problem.weeks)), default=0)
    for code in np.unique(problem.category):
        members = np.flatnonzero(problem.category == code)
        order = members[np.argsort(-most[members], kind="stable")]
        for i in members.tolist():
            others = [j for j in order.tolist() if j != i][:together]
            if lowest[i] - most[others].sum() < -1e-9:
                raise ProblemError(
                    f"product {problem.product_ids[i]}: in its worst week it would sell "
                    f"{lowest[i] - most[others].sum():.2f} of its base units: {SHORT}"
                )
