"""Coupon allocation as one integer program: declared in Pyomo, solved by HiGHS. For problems of a few thousand."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.errors import InfeasibleError
from optimizers.coupon_gap import relative_gap
from optimizers.coupon_problem import CouponProblem, Ints
from optimizers.coupons import CouponPlan
from optimizers.solver import Solution, Stop, compile_model, relax, solve


def allocate_exact(problem: CouponProblem, *, gap: float, seconds: float, safe: Ints) -> CouponPlan:
    """Solve the multiple-choice knapsack as declared.

    Args:
        problem: values, costs and limits.
        gap: relative gap at which the solver may stop.
        seconds: its time limit.
        safe: (N,) a choice that keeps every rule, from `check_reachable`; held where the solver holds nothing.

    Raises:
        InfeasibleError: the solver proves that no plan keeps the rules.
    """
    model, cells = declare(problem)
    compiled = compile_model(model)
    found = solve(compiled, gap=gap, seconds=seconds)
    if found.stop is Stop.INFEASIBLE:
        raise InfeasibleError("no coupon plan keeps these budgets and min_sent; raise a budget or lower min_sent")
    choice = _read(problem, cells, found, model, safe)
    prices = relax(compiled)
    total, by_segment, floor = _shadow_prices(problem, model, prices)
    at = np.arange(problem.n_customers)
    objective = float(problem.profit[at, choice].sum(dtype=np.float64))
    bound = max(objective, _bound(problem, found))
    reached = relative_gap(objective, bound)
    return CouponPlan(
        choice=choice,
        objective=objective,
        bound=bound,
        gap=reached,
        spend=float(problem.cost[at, choice].sum(dtype=np.float64)),
        shadow_price=total,
        status="optimal" if reached <= gap else "time_limit" if found.stop is Stop.TIME_LIMIT else "gap_limit",
        segment_shadow_price=by_segment,
        method="exact",
        floor_shadow_price=floor,
    )


def declare(problem: CouponProblem) -> tuple[Any, tuple[Ints, Ints]]:
    """The rules in Pyomo, one binary for each coupon that may be sent, and its (customer, offer)."""
    import pyomo.environ as pyo

    sendable = np.ones(problem.profit.shape, dtype=np.bool_) if problem.offered is None else problem.offered.copy()
    sendable[:, 0] = False
    customer, offer = np.nonzero(sendable)
    profit = problem.profit[customer, offer].astype(np.float64)
    cost = problem.cost[customer, offer].astype(np.float64)
    model = pyo.ConcreteModel()
    model.send = pyo.Var(range(len(customer)), domain=pyo.Binary)
    model.profit = pyo.Objective(expr=_weighted(profit, model.send, range(len(customer))), sense=pyo.maximize)
    model.rules = pyo.ConstraintList()
    starts = np.searchsorted(customer, np.arange(problem.n_customers + 1))
    for i in range(problem.n_customers):
        if starts[i + 1] > starts[i]:
            model.rules.add(sum(model.send[c] for c in range(starts[i], starts[i + 1])) <= 1)
    everything = range(len(customer))
    if problem.budget is not None and len(customer):
        model.total = pyo.Constraint(expr=_weighted(cost, model.send, everything) <= problem.budget)
    if problem.min_sent and len(customer):
        model.floor = pyo.Constraint(expr=pyo.quicksum(model.send.values()) >= problem.min_sent)
    model.segments = pyo.Constraint(pyo.Any)
    _declare_segments(problem, model, customer, cost)
    return model, (customer, offer)


def _declare_segments(problem: CouponProblem, model: Any, customer: Ints, cost: Any) -> None:  # noqa: ANN401
    if problem.segment is None or problem.segment_budget is None:
        return
    segment = problem.segment[customer]
    for number, budget in enumerate(problem.segment_budget):
        mine = np.flatnonzero(segment == number)
        if len(mine) and np.isfinite(budget):
            model.segments[number] = _weighted(cost, model.send, mine.tolist()) <= float(budget)


def _weighted(weight: Any, variables: Any, cells: Any) -> Any:  # noqa: ANN401 - Pyomo has no types
    from pyomo.core.expr import LinearExpression

    return LinearExpression(
        constant=0, linear_coefs=[float(weight[c]) for c in cells], linear_vars=[variables[c] for c in cells]
    )


def _read(problem: CouponProblem, cells: tuple[Ints, Ints], found: Solution, model: Any, safe: Ints) -> Ints:  # noqa: ANN401
    """The choice that is held; where none is, the safe one."""
    from optimizers.coupon_exchange import keeps_rules
    from optimizers.coupon_rows import make_rows

    choice = np.zeros(problem.n_customers, dtype=np.int64)
    if found.holds:
        sent = found.of(model.send) > 0.5
        choice[cells[0][sent]] = cells[1][sent]
        rows = make_rows(problem)
        if keeps_rules(rows, choice):
            return choice
        return _within(problem, choice, safe)
    return safe


def _within(problem: CouponProblem, choice: Ints, safe: Ints) -> Ints:
    """HiGHS keeps rules within 1e-6 only: repair the little that is over, or fall back on what certainly fits."""
    from optimizers.coupon_exchange import RESERVE, fill, keeps_rules, mend
    from optimizers.coupon_rows import make_rows
    from optimizers.coupon_sums import no_prices

    rows = make_rows(problem)
    free = no_prices(rows.rules)
    repaired = mend(rows, choice, free, reserve=RESERVE)
    return repaired if keeps_rules(rows, repaired) else fill(rows, safe, free, reserve=RESERVE)


def _bound(problem: CouponProblem, found: Solution) -> float:
    """The solver's bound, or the profit without any rule where it proved nothing."""
    if found.bound is not None:
        return found.bound
    profit = problem.profit if problem.offered is None else np.where(problem.offered, problem.profit, 0)
    return float(profit.max(axis=1).sum(dtype=np.float64)) if problem.n_customers else 0.0


def _shadow_prices(problem: CouponProblem, model: Any, prices: Any) -> tuple[float, Any, float]:  # noqa: ANN401
    """What a unit of each rule is worth in the linear relaxation."""
    held = prices.row_duals is not None
    total = prices.dual(model.total) if held and hasattr(model, "total") else 0.0
    floor = -prices.dual(model.floor) if held and hasattr(model, "floor") else 0.0
    if problem.segment_budget is None:
        return max(total, 0.0), None, max(floor, 0.0)
    by_segment = np.zeros(len(problem.segment_budget))
    for number in model.segments if held else ():
        by_segment[number] = max(prices.dual(model.segments[number]), 0.0)
    return max(total, 0.0), by_segment, max(floor, 0.0)
