"""Prices: which rung of its ladder each product takes, under the rules, so that expected profit is largest.

The objective is the posterior expectation of the gain, over the draws of the response. A plan that maximises a
posterior expectation is promised what the posterior expects of it, and no more: the promise is already deflated for
the optimiser's curse (Smith and Winkler, "The Optimizer's Curse", Management Science, 2006), as far as the posterior
is right. `raw_predicted_gain` is what the unshrunk estimates would have promised for their own optimum.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError, UnsolvedError
from engine.proposal import N_
from optimizers.prices import model as price_model
from optimizers.prices.binding import binding_rules
from optimizers.prices.incumbent import PriceProgress
from optimizers.prices.ladder import Ladder, LadderRules, build_ladder
from optimizers.prices.rows import PriceRows, check_rows
from optimizers.prices.search import PriceSearch
from optimizers.prices.system import all_rows, build_system, named_prices
from optimizers.prices.well_posed import check_effort, check_problem, refuse
from optimizers.solver import relative_gap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ROUNDING = 1e-12
"""A bound closer to the objective than this share of today's revenue is the objective, but for rounding."""
OUT_OF_TIME = N_(
    "time was up before prices were found that satisfy the rules; give more seconds (pricing.seconds) or relax a rule"
)
OUT_OF_WORK = N_(
    "the work that is allowed found no prices that satisfy the rules; "
    "give more seconds (pricing.seconds) or relax a rule"
)


@dataclass(frozen=True)
class PriceProblem:
    """P products, D posterior draws of their response, ladders of at most K prices. Money over the horizon.

    Demand of product i when the price vector is p (p0 today's, r = p / p0), for draw d:
        units_i = base_units_i · base_scale_di · exp(own_di · m(r_i)) · (Π_j r_j^w_j)^cross_di
    where m(r) = (r^curvature - 1) / curvature (log r at curvature 0: a constant elasticity), j runs over the other
    products of the family of i, and w_j are their shares in `index_weight` (None: in revenue) among those others.
    """

    product_ids: tuple[str, ...]
    current_price: Floats
    """(P,) everyday price in force, money per unit."""
    unit_cost: Floats
    """(P,) money per unit."""
    base_units: Floats
    """(P,) expected units over the horizon at today's prices."""
    own: Floats
    """(D, P) draws of the own-price elasticity (negative as a rule)."""
    cross: Floats
    """(D, P) draws of the elasticity to the price index of the rest of the family (positive: substitutes)."""
    base_scale: Floats
    """(D, P) draws of the level's relative error, mean 1."""
    family: Ints
    """(P,) family (substitution group) 0…F-1."""
    movable: Bools
    """(P,) False: held at today's price; the reason stands with the estimate, not here."""
    max_change: float
    step: float
    index_band: float | None
    min_margin: float | None
    max_changed: int | None
    endings: tuple[float, ...] | None
    risk: str = "mean"
    """"mean" or "lower" (10 % quantile of each line's gain)."""
    price_low: Floats | None = None
    """(P,) lowest price at which the response is known to hold; None: no limit beyond max_change."""
    price_high: Floats | None = None
    curvature: float = 0.0
    """How elasticities grow with the price, in logs; 0: constant, 1: demand is exponential in the price."""
    curvature_draws: Floats | None = None
    """(D,) curvature of each draw. Plans are searched by `curvature`; `evaluate_prices` counts these where they are."""
    index_weight: Floats | None = None
    """(P,) how much each product's price counts in the index of its family; None: its revenue at today's prices."""
    further: Floats | None = None
    """(P, E) prices besides those of the steps, money per unit, NaN where there is none; the settings hold for them."""


@dataclass(frozen=True)
class PricePlan:
    """What was chosen, why the solver stopped, and what each rule cost."""

    status: str
    """"optimal" (within the gap), "time_limit" or "cancelled" (an incumbent is held, its gap is honest), "gap_limit"
    (the work that was allowed is done; the gap, honest too, stays above the one asked for), or "nothing_to_move"."""
    price: Floats
    """(P,) chosen prices, money per unit."""
    objective: float
    """Gain over today's prices by exact demand, as the risk setting counts it: expected under "mean", the sum of the
    lines' 10 % quantiles under "lower"; less the fines of soft rules; money. The expected gain of any prices is
    `evaluate_prices(…).gain.sum()`."""
    bound: float
    """No prices on the ladder that keep the rules are worth more; same measure and money as `objective`."""
    gap: float
    """(bound - objective) / |bound|; 0 where both are 0."""
    shadow_prices: Mapping[str, float] = field(default_factory=dict)
    """Rule -> money per unit of relaxation (index_up, index_down: per 0.1 % of the index; max_changed: per change)."""
    binding: tuple[tuple[str, ...], ...] = ()
    """(P,) names of the rules that kept the product from its best price: max_change, min_margin, index, max_changed,
    endings, seen_range, held."""
    binding_cost: tuple[tuple[float, ...], ...] = ()
    """(P,) for each of those rules the money that the product would gain over the horizon by its best price without it,
    the other prices standing still; what that does to its family to first order."""
    free_price: Floats | None = None
    """(P,) the price the product would take if only its own ladder bound it (no index, no limit on changes)."""
    seconds: float = 0.0
    build_seconds: float = 0.0
    """Of `seconds`, spent in Pyomo."""
    rounds: int = 0
    """Rounds of column generation."""


@dataclass(frozen=True)
class PriceOutcome:
    """What prices bring under all draws, by exact demand. Money and units over the horizon."""

    units: Floats
    """(P,) expected."""
    profit: Floats
    """(P,) expected."""
    gain: Floats
    """(P,) expected gain over today's prices."""
    gain_draws: Floats
    """(D,) gain of the whole plan under every draw."""
    line_gain_low: Floats
    """(P,) 5 % quantile of the line's gain."""
    line_gain_high: Floats
    """(P,) 95 % quantile."""


def evaluate_prices(problem: PriceProblem, price: Floats) -> PriceOutcome:
    """Evaluate prices (P,) exactly, whether or not they obey the rules.

    Raises:
        ProblemError: a price is missing, not finite, or not above 0; the problem itself is not well posed.
    """
    check_problem(problem)
    price = np.asarray(price, dtype=np.float64)
    if price.shape != problem.current_price.shape:
        raise ProblemError(f"prices have shape {price.shape}; the problem has {len(problem.product_ids)} products")
    refuse(problem, ~(np.isfinite(price) & (price > 0)), "price", price, "give a price above 0")
    effect = price_model.rest_effect(problem, price_model.Families.of(problem), price)
    units = price_model.draw_units(price_model.bent_as_drawn(problem, price), price, effect)
    profit = units * (price - problem.unit_cost)
    gain = profit - price_model.draw_profit_today(problem)
    low, high = np.quantile(gain, (0.05, 0.95), axis=0)
    return PriceOutcome(units.mean(axis=0), profit.mean(axis=0), gain.mean(axis=0), gain.sum(axis=1), low, high)


def solve_prices(
    problem: PriceProblem,
    *,
    rows: PriceRows | None = None,
    gap: float = 1e-4,
    seconds: float = 60.0,
    progress: Callable[[PriceProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> PricePlan:
    """Choose the prices that gain most under the rules.

    Args:
        problem: products, draws and rules.
        rows: further rules over the ladder of `problem_ladder(problem)`.
        gap: relative gap at which the search may stop.
        seconds: time limit; 0 returns today's prices with a bound.
        progress: told what is held and proven whenever that changes.
        cancelled: asked now and then; True ends the search with what it holds.

    Returns:
        A plan that satisfies every hard rule to the cent; today's prices at the worst, where those are permitted.

    Raises:
        ProblemError: the problem, a row, the gap or the time limit is not well posed; the message names product or
            rule, and value.
        InfeasibleError: no prices satisfy the rules.
        UnsolvedError: today's prices break the rules, and time or the work that is allowed ended before others were
            found.
    """
    check_problem(problem)
    check_effort(gap, seconds)
    if seconds > 0:
        _compile_kernels(problem.risk)
    begun = time.perf_counter()
    ladder = problem_ladder(problem)
    if rows is not None:
        check_rows(rows, ladder.rungs, problem.product_ids)
    rules = all_rows(problem, ladder, rows)
    if not len(problem.product_ids):
        return PricePlan("nothing_to_move", np.empty(0), 0.0, 0.0, 0.0, free_price=np.empty(0))
    search = PriceSearch(problem, ladder, rules, gap=gap, deadline=begun + seconds, tell=progress, cancelled=cancelled)
    search.run()
    return _plan(problem, ladder, search, begun)


@functools.cache
def _compile_kernels(risk: str) -> None:
    """Solve little problems once in a process: compiling takes a minute on a fresh machine, off no time limit.

    One is decided in one piece, one family by family, and one by joining its families.
    """
    for families, listing in ((1, False), (12, False), (12, True)):
        little = _little_problem(families)
        ladder = problem_ladder(little)
        rules = all_rows(little, ladder, None)
        PriceSearch(little, ladder, rules, gap=0.05, deadline=math.inf, listing=listing).run()
        build_system(replace(little, risk=risk), ladder, all_rows(little, ladder, None))


def _little_problem(families: int) -> PriceProblem:
    rng, p, draws = np.random.default_rng(1), 3 * families, 8
    return PriceProblem(
        product_ids=tuple(f"p{i}" for i in range(p)),
        current_price=np.full(p, 2.0),
        unit_cost=rng.uniform(0.8, 1.4, p),
        base_units=rng.uniform(50, 200, p),
        own=-2.0 + 0.3 * rng.standard_normal((draws, p)),
        cross=0.3 + 0.05 * rng.standard_normal((draws, p)),
        base_scale=np.ones((draws, p)),
        family=np.repeat(np.arange(families), 3),
        movable=np.ones(p, dtype=np.bool_),
        max_change=0.05,
        step=0.05,
        index_band=0.01,
        min_margin=None,
        max_changed=max(2, p // 3),
        endings=None,
    )


def _plan(problem: PriceProblem, ladder: Ladder, search: PriceSearch, begun: float) -> PricePlan:
    """Read the plan off a search that has ended, its value by exact demand."""
    if search.choice is None:
        late = search.stopped in ("time_limit", "cancelled")
        raise UnsolvedError(OUT_OF_TIME if late else OUT_OF_WORK)
    families = price_model.Families.of(problem)
    choice = search.chosen
    price = ladder.price[np.arange(len(choice)), choice]
    value = price_model.exact_value(problem, families, price) - search.plan.fines()
    bound = search.bound + search.error
    turnover = float(np.abs(problem.base_units * problem.current_price).sum())
    if bound - value <= ROUNDING * turnover:
        bound = value
    shadow = named_prices(search.system, search.price, search.groups.inner_price)
    model = price_model.rung_model(problem, families, ladder, price)
    free, binding = binding_rules(problem, ladder, model, choice, shadow)
    reached = relative_gap(value, bound)
    return PricePlan(
        status=search.status(reached),
        price=price,
        objective=value,
        bound=bound,
        gap=reached,
        shadow_prices=shadow,
        binding=tuple(tuple(found) for found in binding),
        binding_cost=tuple(tuple(found.values()) for found in binding),
        free_price=free,
        seconds=time.perf_counter() - begun,
        build_seconds=search.build_seconds,
        rounds=search.rounds,
    )


def raw_predicted_gain(problem: PriceProblem, raw: Floats, *, gap: float = 1e-4, seconds: float = 60.0) -> float:
    """Return the gain that unshrunk elasticities (P,) promise for their own optimum under the same settings, money."""
    return solve_prices(at_face_value(problem, raw), gap=gap, seconds=seconds).objective


def at_face_value(problem: PriceProblem, raw: Floats) -> PriceProblem:
    """The problem of who believes unshrunk elasticities (P,): shown beside the promise, never believed.

    Where `raw` is not finite the posterior mean stands in.
    """
    own = np.where(np.isfinite(raw), raw, problem.own.mean(axis=0) if len(problem.own) else 0.0)[None, :]
    cross, scale = (values.mean(axis=0, keepdims=True) for values in (problem.cross, problem.base_scale))
    return replace(problem, own=own, cross=cross, base_scale=scale, risk="mean", curvature_draws=None)


def problem_ladder(problem: PriceProblem) -> Ladder:
    """Build the ladders of a problem.

    Raises:
        ProblemError: step or max_change leave no ladder.
    """
    return build_ladder(
        problem.current_price,
        problem.unit_cost,
        problem.movable,
        ladder_rules(problem),
        problem.price_low,
        problem.price_high,
        problem.further,
    )


def ladder_rules(problem: PriceProblem) -> LadderRules:
    """Gather the rules that each product's own ladder obeys."""
    return LadderRules(problem.max_change, problem.step, problem.min_margin, problem.endings)
