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
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError, UnsolvedError
from engine.proposal import N_
from optimizers.gap import relative_gap
from optimizers.prices import model as price_model
from optimizers.prices.binding import binding_rules
from optimizers.prices.incumbent import PriceProgress
from optimizers.prices.ladder import Ladder
from optimizers.prices.problem import PriceOutcome, PricePlan, PriceProblem, problem_ladder
from optimizers.prices.rows import PriceRows, check_rows
from optimizers.prices.search import PriceSearch
from optimizers.prices.system import all_rows, build_system, named_prices
from optimizers.prices.well_posed import check_effort, check_problem, refuse

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
