"""The promotion calendar as one integer program, declared in Pyomo: the exact road for small problems.

Each product's calendar is a unit flow through its promotions (`promotion_events`), so lift, dip, gap and count are
exact; a product of two promotions of the same category and week is linearised by its upper envelope, which is exact for
whole numbers because the term is never negative and profit is maximised (McCormick, 1976).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.gap import relative_gap
from optimizers.promotions.calendar import PromotionPlan, evaluate_calendar, proven_bound
from optimizers.promotions.columns import taken_from_others
from optimizers.promotions.events import Events, Limits
from optimizers.promotions.pairs import pair_terms
from optimizers.promotions.problem import PromotionProblem
from optimizers.solver import Stop, solve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PyomoModel = Any

SMALL = 40_000
"""Arcs and pairs up to which the exact program is tried."""


def is_small(problem: PromotionProblem) -> bool:
    """Whether the exact program is worth trying."""
    events = problem.weeks * len(problem.depth)
    pairs = np.bincount(problem.category, minlength=1).astype(np.int64)
    return bool(
        len(problem.product_ids) * events**2 // 2 + (pairs * (pairs - 1)).sum() * events * len(problem.depth) <= SMALL
    )


def plan_exactly(problem: PromotionProblem, *, gap: float, seconds: float, start: Ints | None = None) -> PromotionPlan:
    """Plan by one integer program; see `promotions.plan_promotions`. `start`: a calendar to fall back on."""
    model = declare_calendar(problem)
    found = solve(model, gap=gap, seconds=seconds)
    nothing = np.zeros((len(problem.product_ids), problem.weeks), dtype=np.int64)
    fallback = nothing if start is None else start
    option = _read(problem, model, found.of(model.go)) if found.holds else fallback
    option = option if _within(problem, option) else fallback
    plan = max((evaluate_calendar(problem, o) for o in (option, fallback, nothing)), key=lambda p: p.objective)
    bound = np.inf if found.bound is None else proven_bound(problem, plan.objective, float(found.bound))
    reached = relative_gap(plan.objective, bound) if np.isfinite(bound) else np.inf
    status = "optimal" if reached <= gap else "time_limit" if found.stop == Stop.TIME_LIMIT else "gap_limit"
    return replace(plan, status=status, bound=bound, gap=reached, method="exact")


def declare_calendar(problem: PromotionProblem) -> PyomoModel:
    """Declare flows, pairs and limits."""
    import pyomo.environ as pyo

    takes = taken_from_others(problem)
    events = [Events.of(problem, i, takes[i]) for i in range(len(problem.product_ids))]
    model = pyo.ConcreteModel()
    arcs = [(e.product, a, b) for e in events for a, b in np.argwhere(np.isfinite(e.worth)).tolist() if b > a or b == 0]
    model.go = pyo.Var(arcs, domain=pyo.Binary)
    model.rules = pyo.ConstraintList()
    into: dict[tuple[int, int], list[Any]] = {}
    out: dict[tuple[int, int], list[Any]] = {}
    for i, a, b in arcs:
        into.setdefault((i, b), []).append(model.go[i, a, b])
        out.setdefault((i, a), []).append(model.go[i, a, b])
    for e in events:
        model.rules.add(sum(out[e.product, 0]) == 1)
        for node in range(1, len(e.week)):
            model.rules.add(sum(into.get((e.product, node), [])) == sum(out[e.product, node]))
        taken = [v for node in range(1, len(e.week)) for v in into.get((e.product, node), [])]
        if taken:
            model.rules.add(sum(taken) <= e.most)
    _declare_limits(problem, model, events, into)
    gain = sum(events[i].worth[a, b] * model.go[i, a, b] for i, a, b in arcs)
    model.gain = pyo.Objective(expr=gain + _declare_pairs(problem, model, into), sense=pyo.maximize)
    return model


def _declare_limits(
    problem: PromotionProblem, model: PyomoModel, events: list[Events], into: dict[tuple[int, int], list[Any]]
) -> None:
    limits = Limits.of(problem)
    used: dict[int, list[Any]] = {}
    for e in events:
        for node in range(1, len(e.week)):
            slot = int(problem.slot[e.option[node] - 1])
            for row in limits.rows(int(problem.category[e.product]), int(e.week[node]), slot):
                used.setdefault(row, []).extend(into.get((e.product, node), []))
    for row, variables in used.items():
        if np.isfinite(limits.limit[row]) and variables:
            model.rules.add(sum(variables) <= float(limits.limit[row]))
    spend = [float(events[i].spend[a, b]) * model.go[i, a, b] for i, a, b in model.go if events[i].spend[a, b] > 0]
    if problem.budget is not None and spend:
        scale = max(problem.budget, 1.0)
        model.rules.add(sum(spend) / scale <= problem.budget / scale)


def _declare_pairs(problem: PromotionProblem, model: PyomoModel, into: dict[tuple[int, int], list[Any]]) -> Any:  # noqa: ANN401
    import pyomo.environ as pyo

    terms = [(key, worth) for key, worth in pair_terms(problem) if into.get(key[0]) and into.get(key[1])]
    model.both = pyo.Var(range(len(terms)), bounds=(0, 1))
    for number, ((first, second), _) in enumerate(terms):
        model.rules.add(model.both[number] <= sum(into[first]))
        model.rules.add(model.both[number] <= sum(into[second]))
    return sum(worth * model.both[number] for number, (_, worth) in enumerate(terms))


def _read(problem: PromotionProblem, model: PyomoModel, values: Floats) -> Ints:
    option = np.zeros((len(problem.product_ids), problem.weeks), dtype=np.int64)
    kinds = len(problem.depth)
    for (i, _, b), value in zip(model.go, values, strict=True):
        if value > 0.5 and 1 <= b <= problem.weeks * kinds:
            option[i, (b - 1) // kinds] = (b - 1) % kinds + 1
    return option


def _within(problem: PromotionProblem, option: Ints) -> bool:
    """HiGHS keeps rows within 1e-6 only: a calendar that spends more than the budget is not taken."""
    return problem.budget is None or evaluate_calendar(problem, option).spend <= problem.budget * (1 + 1e-12)
