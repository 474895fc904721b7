"""Markdown: the price path that turns a stock into most money by a date.

The plan is an open-loop path: the price of every week is set now, for the sales expected under all draws of demand, and
made anew each week with what sold (`replan`). A draw is one whole future, its elasticity and level for all weeks, so a
plan knows that a product that sells badly in the first week will sell badly in the last. Within a draw, sales are
min(demand, stock left). What watching sales could add at most is stated beside it (`adaptive_bound`); the best policy
that prices by the stock left, for demand whose weeks are independent, is `markdown_policy.solve_markdown_policy`.

Sources: Gallego and van Ryzin, "Optimal Dynamic Pricing of Inventories with Stochastic Demand over Finite Horizons",
Management Science, 1994; Bitran and Mondschein, "Periodic Pricing of Seasonal Products in Retailing", Management
Science, 1997; Talluri and van Ryzin, "The Theory and Practice of Revenue Management", 2004, chapter 5.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.gap import relative_gap
from optimizers.markdown.problem import MarkdownProblem
from optimizers.prices.column_selection import select_columns

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MarkdownPlan:
    """The price of every product in every week, what it is expected to bring, and how good it is proven to be."""

    status: str
    """"optimal" (the best path of all, within the gap), "gap_limit" (the gap is as stated, and above the one asked
    for), "time_limit" or "nothing_to_sell"."""
    rung: Ints
    """(P, W) column of the ladder."""
    price: Floats
    """(P, W) money per unit."""
    sales: Floats
    """(P, W) expected units sold, stock-outs counted."""
    leftover: Floats
    """(P,) expected units left at the date."""
    sold_out: Floats
    """(P,) probability that nothing is left."""
    revenue: Floats
    """(P,) expected money from sales, net of `unit_cost`."""
    objective: float
    """Expected revenue and salvage of all products, money."""
    bound: float
    """No path under the same rules is worth more, money."""
    gap: float
    adaptive_bound: float
    """No policy that watches sales and re-plans is worth more: the mean over draws of the best path for someone who
    knew the draw (information relaxation: Brown, Smith and Sun, "Information Relaxations and Duality in Stochastic
    Dynamic Programs", Operations Research, 2010). Money."""
    kept: float
    """Expected money if no price changed."""
    change_price: Floats
    """(W,) what one more change permitted in the week would bring, money."""
    seconds: float = 0.0


def plan_markdown(problem: MarkdownProblem, *, gap: float = 1e-4, seconds: float = 60.0) -> MarkdownPlan:
    """Choose the price path of every product.

    Every product's paths are listed and valued exactly under every draw; where there are too many to list, a beam keeps
    those with most potential and what it dropped stays in the bound. The limit on changes a week couples products: it
    is priced by its multipliers and decided by an integer master (`column_selection`).

    Args:
        problem: stock, demand and rules.
        gap: relative gap at which the search may stop.
        seconds: time limit of the search among coupled products; listing and valuing paths comes on top.

    Returns:
        A plan that keeps every rule; today's prices kept at the worst.
    """
    from optimizers.markdown.paths import PathOwner, Paths, list_paths

    begun = time.perf_counter()
    listed: dict[tuple[int, ...], Paths | None] = {}
    owners = [PathOwner.of(problem, i, list_paths(problem, i, listed)) for i in range(len(problem.product_ids))]
    limit = np.full(problem.weeks, np.inf if problem.max_changed is None else float(problem.max_changed))
    found = select_columns(owners, limit, gap=gap, seconds=seconds)
    rung = np.array([c.label for c in found.columns], dtype=np.int64).reshape(len(owners), problem.weeks)
    reached = relative_gap(found.objective, found.bound)
    return replace(
        expect_path(problem, rung),
        status=_status(problem, found.out_of_time, reached <= gap),
        bound=found.bound,
        gap=relative_gap(found.objective, max(found.bound, found.objective)),
        adaptive_bound=max(sum(owner.clairvoyant for owner in owners), found.objective),
        kept=sum(owner.rest().value for owner in owners),
        change_price=found.prices,
        seconds=time.perf_counter() - begun,
    )


def _status(problem: MarkdownProblem, late: bool, proven: bool) -> str:
    if not (problem.stock > 0).any():
        return "nothing_to_sell"
    if proven:
        return "optimal"
    return "time_limit" if late else "gap_limit"


def expect_path(problem: MarkdownProblem, rung: Ints) -> MarkdownPlan:
    """Say what given prices bring, whether or not they keep the rules; bound and gap are those of no proof.

    Args:
        problem: stock and demand.
        rung: (P, W) column of the ladder.

    Raises:
        ProblemError: a rung that is not on the ladder.
    """
    from optimizers.markdown.kernels import sell_path

    products = len(problem.product_ids)
    _check_rungs(problem, rung, (products, problem.weeks))
    price = np.take_along_axis(problem.ladder, rung, axis=1)
    probability = problem.probability()
    sales = np.zeros((products, problem.weeks))
    leftover, sold_out = np.zeros(products), np.zeros(products)
    for i in range(products):
        leftover[i], sold_out[i] = sell_path(
            problem.demand(i), problem.stock[i], np.ascontiguousarray(probability[:, i]), rung[i], sales[i]
        )
    revenue = (sales * (price - problem.unit_cost[:, None])).sum(axis=1)
    value = float((revenue + problem.salvage * leftover).sum())
    nothing = np.zeros(problem.weeks)
    return MarkdownPlan(
        *("given", rung, price, sales, leftover, sold_out, revenue),
        *(value, np.inf, np.inf, np.inf, np.nan, nothing),
    )


def _check_rungs(problem: MarkdownProblem, rung: Ints, shape: tuple[int, ...]) -> None:
    if rung.shape != shape:
        raise ProblemError(f"rungs have shape {rung.shape}, expected {shape}")
    if rung.size and not (rung.min() >= 0 and rung.max() < problem.ladder.shape[1]):
        raise ProblemError(f"rungs go from 0 to {problem.ladder.shape[1] - 1}; {rung.min()} … {rung.max()} were given")
    columns = rung.reshape(len(rung), -1)
    missing = np.argwhere(np.isnan(np.take_along_axis(problem.ladder, columns, axis=1)))
    if len(missing):
        i = int(missing[0, 0])
        raise ProblemError(f"product {problem.product_ids[i]}: the ladder has no rung {columns[i, missing[0, 1]]}")


def replan(
    problem: MarkdownProblem,
    plan: MarkdownPlan,
    sold: Floats,
    stock: Floats,
    *,
    gap: float = 1e-4,
    seconds: float = 60.0,
) -> tuple[MarkdownProblem, MarkdownPlan]:
    """Plan the weeks that are left after the first week of a plan was carried out.

    Args:
        problem: what was planned.
        plan: its plan.
        sold: (P,) units sold in the first week.
        stock: (P,) units counted after it.
        gap: as in `plan_markdown`.
        seconds: as in `plan_markdown`.

    Returns:
        The problem that is left, its draws weighed by how well they foretold what sold, and its plan.

    Raises:
        ProblemError: no week is left, or units that are none.
    """
    left = advance_week(problem, sold, stock, plan.rung[:, 0])
    return left, plan_markdown(left, gap=gap, seconds=seconds)


def advance_week(problem: MarkdownProblem, sold: Floats, stock: Floats, rung: Ints) -> MarkdownProblem:
    """State the problem that is left after one week.

    Bayes' rule over the draws, product by product: sales are Poisson around a draw's demand, mixed over a gamma where
    there is dispersion (negative binomial); where everything sold, all that is known is that demand was no smaller.

    Args:
        problem: before the week.
        sold: (P,) units sold in it.
        stock: (P,) units counted after it (deliveries, returns and losses are in it).
        rung: (P,) column of the price that was charged.

    Raises:
        ProblemError: the last week is over, or units that are negative or no numbers.
    """
    products = len(problem.product_ids)
    if problem.weeks < 2:
        raise ProblemError("the last week is over: nothing is left to plan; what remains is worth its salvage")
    _check_rungs(problem, rung, (products,))
    for name, units in (("sold", sold), ("stock", stock)):
        if np.shape(units) != (products,) or not (np.isfinite(units) & (units >= 0)).all():
            raise ProblemError(f"{name} must be {products} numbers of units, 0 or more; {units} was given")
    changed = rung != problem.current_rung
    held = problem.weeks_held if problem.weeks_held is not None else np.full(products, problem.min_weeks_between)
    return replace(
        problem,
        stock=np.asarray(stock, dtype=np.float64),
        current_rung=rung,
        week_units=problem.week_units[1:],
        noise=None if problem.noise is None else problem.noise[:, 1:],
        weight=_learn(problem, np.asarray(sold, dtype=np.float64), rung),
        max_steps=None if problem.max_steps is None else np.maximum(problem.max_steps - changed, 0),
        weeks_held=np.where(changed, 1, held + 1),
    )


def _learn(problem: MarkdownProblem, sold: Floats, rung: Ints) -> Floats:
    """(D, P) posterior probability of every draw."""
    from scipy import stats

    price = np.take_along_axis(problem.ladder, rung[:, None], axis=1)[:, 0]
    mean = problem.week_units[0] * problem.base_scale * (price / problem.reference_price) ** problem.own
    mean = np.maximum(mean, 1e-12)
    units = np.round(sold)
    if problem.dispersion > 0:
        size = 1.0 / problem.dispersion
        law = stats.nbinom(size, size / (size + mean))
    else:
        law = stats.poisson(mean)
    gone = (sold >= problem.stock - 1e-9) & (problem.stock > 0)
    likelihood = np.where(gone, law.logsf(units - 1), law.logpmf(units))
    likelihood = np.where(problem.stock > 0, likelihood, 0.0)
    with np.errstate(divide="ignore"):
        score = np.log(problem.probability()) + np.maximum(likelihood, -1e6)
    weight = np.exp(score - score.max(axis=0))
    return np.asarray(weight / weight.sum(axis=0))


def draw_noise(problem: MarkdownProblem, rng: np.random.Generator) -> Floats:
    """Draw the weeks' relative noise (D, W, P), mean 1.

    Poisson sales around the expectation at the reference price, gamma-mixed where there is dispersion.
    """
    mean = np.broadcast_to(
        problem.week_units[None] * problem.base_scale[:, None, :],
        (len(problem.own), problem.weeks, len(problem.product_ids)),
    )
    rate = mean
    if problem.dispersion > 0:
        rate = mean * rng.gamma(1.0 / problem.dispersion, problem.dispersion, mean.shape)
    return np.where(mean > 0, rng.poisson(rate) / np.where(mean > 0, mean, 1.0), 1.0)
