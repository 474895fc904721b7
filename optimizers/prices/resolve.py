"""Solve again after somebody fixed prices: only their families move, from the plan that is there.

Everything else stays where the plan put it, and so does what it uses of the rules; the families of the fixed products
are decided by branch and bound within what is left. Where that is impossible a few other families move with them, and
only where that is not enough either, the whole problem is solved.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError, ProblemError
from optimizers.gap import relative_gap
from optimizers.prices import model as price_model
from optimizers.prices.binding import binding_rules
from optimizers.prices.ladder import Ladder
from optimizers.prices.problem import PricePlan, PriceProblem, problem_ladder
from optimizers.prices.rows import LinearRow, PriceRows, check_rows
from optimizers.prices.search import PriceSearch
from optimizers.prices.solve import solve_prices
from optimizers.prices.system import all_rows
from optimizers.prices.well_posed import check_effort, check_problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HELPERS = (3, 9)
"""Families that may move too where those of the fixed products cannot keep the rules by themselves."""


def resolve_prices(
    problem: PriceProblem,
    plan: PricePlan,
    fixed: Mapping[int, float],
    *,
    rows: PriceRows | None = None,
    gap: float = 1e-4,
    seconds: float = 60.0,
) -> PricePlan:
    """Fix some prices and choose those of their families anew.

    Args:
        problem: what the plan answered.
        plan: the plan to start from.
        fixed: product number -> price, money per unit; the prices must be on the products' ladders.
        rows: the further rules that the plan was made under.
        gap: relative gap at which the search may stop.
        seconds: time limit.

    Returns:
        A plan in which only families of fixed products moved, with as few others as the rules leave. `bound` is the old
        plan's, which still holds, as fixing prices only takes choices away.

    Raises:
        ProblemError: a product that is not there, a price that is not on its ladder or that the rules forbid.
        InfeasibleError: no prices satisfy the rules with these fixed.
    """
    begun = time.perf_counter()
    check_problem(problem)
    check_effort(gap, seconds)
    ladder = problem_ladder(problem)
    rules = _with_fixed(problem, ladder, all_rows(problem, ladder, rows), fixed)
    check_rows(rules, ladder.rungs, problem.product_ids)
    rung = _rungs_of(problem, ladder, plan.price)
    touched = np.flatnonzero(np.isin(problem.family, problem.family[list(fixed)]))
    if not len(touched):
        return plan
    deadline = begun + seconds
    for helpers in (0, *HELPERS):
        moving = _with_helpers(problem, plan, touched, helpers)
        found = _moved(problem, ladder, rules, rung, moving, plan, gap, deadline, alone=not helpers)
        if found is not None:
            return _joined(problem, plan, found, gap, begun)
        if len(moving) == len(rung):
            break
    allowed = PriceRows(rules.allowed, () if rows is None else rows.rows)
    return solve_prices(problem, rows=allowed, gap=gap, seconds=max(deadline - time.perf_counter(), 0.0))


@dataclass(frozen=True)
class _Moved:
    """New prices of some whole families, the rest of the plan standing still."""

    products: Ints
    part: PriceProblem
    ladder: Ladder
    rung: Ints
    """(n,) rungs chosen."""
    value: float
    before: float
    """What the plan's own prices of these products are worth, by the same measure; money."""
    stopped: str
    """Status where the gap is not reached."""


def _with_helpers(problem: PriceProblem, plan: PricePlan, touched: Ints, helpers: int) -> Ints:
    """Products of the touched families, and of those others with the most changed prices: they can give most back."""
    if not helpers:
        return touched
    changed = np.bincount(problem.family, weights=plan.price != problem.current_price)
    changed[problem.family[touched]] = -1.0
    others = np.argsort(-changed, kind="stable")[:helpers]
    mine = np.isin(problem.family, others[changed[others] >= 0])
    mine[touched] = True
    return np.flatnonzero(mine)


def _moved(
    problem: PriceProblem,
    ladder: Ladder,
    rules: PriceRows,
    rung: Ints,
    products: Ints,
    plan: PricePlan,
    gap: float,
    deadline: float,
    *,
    alone: bool,
) -> _Moved | None:
    """Choose the prices of some whole families within what the others leave of the rules; None: there are none.

    The families of the fixed products `alone` are decided by branch and bound in one piece; with helpers, families
    are columns, and none is bounded, as the old plan's bound stands.
    """
    part, part_ladder = _part(problem, products), Ladder(ladder.price[products], ladder.today)
    try:
        rest = _rest_of_rows(problem, ladder, rules.rows, rung, products, plan.price)
        looks = itertools.count()
        search = PriceSearch(
            part,
            part_ladder,
            PriceRows(rules.allowed[products], rest),
            gap=gap,
            deadline=deadline,
            # Nothing found in the first slice of a proof: others will have to move, so the rest of it is spared.
            cancelled=lambda: alone and next(looks) > 0 and search.choice is None,
            whole=alone,
            allowance=gap / 2 * abs(plan.objective),
            proofs=0,
            listing=False,
        )
        search.begin_from(_permitted(rules.allowed[products], rung[products]))
        search.run()
    except InfeasibleError:
        return None
    if search.choice is None:
        return None
    # The plan's own prices may be ruled out now, so what they were worth is read off the problem without the locks.
    free = PriceRows(part_ladder.rungs, rest)
    before = PriceSearch(part, part_ladder, free, gap=gap, deadline=deadline, whole=True).worth_of(rung[products])
    value = search.worth_of(search.chosen)
    return _Moved(products, part, part_ladder, search.chosen, value, before, search.stopped)


def _permitted(allowed: npt.NDArray[np.bool_], rung: Ints) -> Ints:
    """(n,) the rungs given, or the permitted ones nearest to them."""
    away = np.abs(np.arange(allowed.shape[1]) - rung[:, None])
    return np.asarray(np.where(allowed, away, allowed.shape[1]).argmin(axis=1), dtype=np.int64)


def _with_fixed(problem: PriceProblem, ladder: Ladder, rules: PriceRows, fixed: Mapping[int, float]) -> PriceRows:
    """Leave each fixed product only its price."""
    allowed = rules.allowed.copy()
    for product, price in sorted(fixed.items()):
        if not 0 <= product < len(problem.product_ids):
            raise ProblemError(f"product number {product} is fixed; there are {len(problem.product_ids)}, from 0")
        name = problem.product_ids[product]
        near = np.flatnonzero(np.abs(ladder.price[product] - price) < 0.005)
        if not len(near):
            rungs = ", ".join(f"{p:.2f}" for p in ladder.price[product][ladder.rungs[product]])
            raise ProblemError(f"product {name}: {price:g} is not on its ladder; fix it at one of {rungs}")
        if not allowed[product, near[0]]:
            raise ProblemError(f"product {name}: the rules forbid {price:g}; fix another price or relax them")
        allowed[product] = False
        allowed[product, near[0]] = True
    return PriceRows(allowed, rules.rows)


def _rungs_of(problem: PriceProblem, ladder: Ladder, price: Floats) -> Ints:
    """(P,) rungs of a plan's prices."""
    off = np.abs(np.where(ladder.rungs, ladder.price, np.inf) - price[:, None])
    strange = np.flatnonzero(off.min(axis=1) > 0.005)
    if len(strange):
        name = problem.product_ids[int(strange[0])]
        raise ProblemError(f"product {name}: the plan's price {price[strange[0]]:g} is not on its ladder; solve anew")
    return np.asarray(off.argmin(axis=1), dtype=np.int64)


def _part(problem: PriceProblem, products: Ints) -> PriceProblem:
    """Cut some whole families out; the rules between products are given as rows instead."""
    names = ("price_low", "price_high", "further", "index_weight")
    given: dict[str, Any] = {
        name: getattr(problem, name)[products] for name in names if getattr(problem, name) is not None
    }
    return replace(
        problem,
        product_ids=tuple(problem.product_ids[n] for n in products.tolist()),
        **{name: getattr(problem, name)[products] for name in ("current_price", "unit_cost", "base_units", "movable")},
        **{name: getattr(problem, name)[:, products] for name in ("own", "cross", "base_scale")},
        family=np.unique(problem.family[products], return_inverse=True)[1],
        **given,
        index_band=None,
        max_changed=None,
    )


def _rest_of_rows(
    problem: PriceProblem, ladder: Ladder, rows: tuple[LinearRow, ...], rung: Ints, touched: Ints, price: Floats
) -> tuple[LinearRow, ...]:
    """What is left of each rule for some products when all others keep their rungs."""
    place = np.full(len(rung), -1, dtype=np.int64)
    place[touched] = np.arange(len(touched))
    found = []
    for row in rows:
        inside = place[row.product] >= 0
        if not inside.any():
            continue
        if row.measure != "linear":
            found.append(_rest_of_measure(problem, row, inside, place, price))
            continue
        taken = ~inside & (rung[row.product] == row.rung)
        used = float(row.coefficient[taken].sum())
        found.append(
            replace(
                row,
                product=place[row.product[inside]],
                rung=row.rung[inside],
                coefficient=row.coefficient[inside],
                low=row.low - used,
                high=row.high - used,
            )
        )
    return tuple(found)


def _rest_of_measure(
    problem: PriceProblem, row: LinearRow, inside: npt.NDArray[np.bool_], place: Ints, price: Floats
) -> LinearRow:
    """What is left of a rule on units, revenue or profit; a margin between families is refused."""
    inner = place[row.product[inside]]
    if inside.all():
        return replace(row, product=inner)
    if row.measure == "margin":
        raise InfeasibleError(
            f"rule {row.name!r} on a margin spans families that keep their prices; solve the whole anew"
        )
    outside = row.product[~inside]
    family = np.flatnonzero(np.isin(problem.family, problem.family[outside]))
    part = _part(problem, family)
    effect = price_model.rest_effect(part, price_model.Families.of(part), price[family])
    units = price_model.draw_units(part, price[family], effect).mean(axis=0)
    weight = {"units": np.ones(len(family)), "revenue": price[family], "profit": price[family] - part.unit_cost}
    used = float((units * weight[row.measure])[np.isin(family, outside)].sum())
    return replace(row, product=inner, low=row.low - used, high=row.high - used)


def _joined(problem: PriceProblem, plan: PricePlan, moved: _Moved, gap: float, begun: float) -> PricePlan:
    """Put the new prices of some families into the plan."""
    price = plan.price.copy()
    price[moved.products] = moved.ladder.price[np.arange(len(moved.products)), moved.rung]
    value = plan.objective + moved.value - moved.before
    bound = max(plan.bound, value)
    families = price_model.Families.of(moved.part)
    model = price_model.rung_model(moved.part, families, moved.ladder, price[moved.products])
    free, binding = binding_rules(moved.part, moved.ladder, model, moved.rung, {})
    names, costs = list(plan.binding), list(plan.binding_cost)
    free_price = price.copy() if plan.free_price is None else plan.free_price.copy()
    free_price[moved.products] = free
    for n, found in zip(moved.products.tolist(), binding, strict=True):
        if names and costs:
            names[n], costs[n] = tuple(found), tuple(found.values())
    reached = relative_gap(value, bound)
    return replace(
        plan,
        status="optimal" if reached <= gap else moved.stopped,
        price=price,
        objective=value,
        bound=bound,
        gap=reached,
        binding=tuple(names),
        binding_cost=tuple(costs),
        free_price=free_price,
        seconds=time.perf_counter() - begun,
        build_seconds=0.0,
    )
