"""Coupon allocation as one integer program: declared in Pyomo, solved by HiGHS. For problems of a few thousand."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.errors import InfeasibleError
from engine.proposal import Reason
from optimizers.coupons.plan import CouponPlan, finish
from optimizers.coupons.problem import CouponProblem, Ints
from optimizers.coupons.rows import make_rules
from optimizers.coupons.sums import Multipliers
from optimizers.coupons.watch import Watch
from optimizers.solver import Relaxation, Solution, Stop, compile_model, relax, solve


def allocate_exact(problem: CouponProblem, *, gap: float, safe: Ints, watch: Watch) -> CouponPlan:
    """Solve the multiple-choice knapsack as declared.

    Args:
        problem: values, costs and limits.
        gap: relative gap at which the solver may stop.
        safe: (N,) a choice that keeps every rule; held where the solver holds nothing better.
        watch: time limit, cancelling, listener.

    Raises:
        InfeasibleError: the solver proves that no plan keeps the rules.
    """
    model, cells = declare(problem)
    compiled = compile_model(model)
    stopped = watch.stop()
    found = solve(compiled, gap=gap, seconds=0.0 if stopped else watch.left)
    if found.stop is Stop.INFEASIBLE:
        raise InfeasibleError(Reason("no coupon plan keeps these limits and min_sent; raise a limit or lower min_sent"))
    choice = _read(problem, cells, found, model, safe)
    stopped = stopped or watch.stop() or ("time_limit" if found.stop is Stop.TIME_LIMIT else None)
    prices = _shadow_prices(problem, model, relax(compiled))
    plan = finish(problem, choice, _bound(problem, found), prices, gap, stopped, "exact")
    watch.tell("exact", plan.objective, plan.bound)
    return plan


def declare(problem: CouponProblem) -> tuple[Any, tuple[Ints, Ints]]:
    """The rules in Pyomo, one binary for each coupon that may be sent, and its (customer, offer)."""
    import pyomo.environ as pyo

    allowed = problem.sendable()
    sendable = np.ones(problem.profit.shape, dtype=np.bool_) if allowed is None else allowed.copy()
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
    if problem.max_sent is not None and len(customer):
        model.ceiling = pyo.Constraint(expr=pyo.quicksum(model.send.values()) <= problem.max_sent)
    model.segments = pyo.Constraint(pyo.Any)
    _declare_segments(problem, model, customer, cost)
    model.caps = pyo.Constraint(pyo.Any)
    for number, cap in enumerate([] if problem.offer_cap is None else problem.offer_cap.tolist()):
        mine = np.flatnonzero(offer == number)
        if len(mine) and np.isfinite(cap):
            model.caps[number] = pyo.quicksum(model.send[c] for c in mine.tolist()) <= cap
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
    from optimizers.coupons.exchange import keeps_rules
    from optimizers.coupons.rows import make_rows

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
    from optimizers.coupons.exchange import RESERVE, fill, keeps_rules, mend
    from optimizers.coupons.rows import make_rows
    from optimizers.coupons.sums import no_prices

    rows = make_rows(problem)
    free = no_prices(rows.rules)
    repaired = mend(rows, choice, free, reserve=RESERVE)
    return repaired if keeps_rules(rows, repaired) else fill(rows, safe, free, reserve=RESERVE)


def _bound(problem: CouponProblem, found: Solution) -> float:
    """The solver's bound, or the profit without any rule where it proved nothing."""
    if found.bound is not None:
        return found.bound
    sendable = problem.sendable()
    profit = problem.profit if sendable is None else np.where(sendable, problem.profit, 0)
    return float(profit.max(axis=1).sum(dtype=np.float64)) if problem.n_customers else 0.0


def _shadow_prices(problem: CouponProblem, model: Any, prices: Relaxation) -> Multipliers:  # noqa: ANN401
    """What a unit of each rule is worth in the linear relaxation."""

    def dual(rule: Any) -> float:  # noqa: ANN401
        return 0.0 if prices.row_duals is None else prices.dual(rule)

    segment = np.zeros(len(make_rules(problem).segment_budget))
    for number in model.segments:
        segment[number] = max(dual(model.segments[number]), 0.0)
    offer = np.zeros(problem.n_offers)
    for number in model.caps:
        offer[number] = max(dual(model.caps[number]), 0.0)
    return Multipliers(
        total=max(dual(model.total), 0.0) if hasattr(model, "total") else 0.0,
        segment=segment,
        floor=max(-dual(model.floor), 0.0) if hasattr(model, "floor") else 0.0,
        ceiling=max(dual(model.ceiling), 0.0) if hasattr(model, "ceiling") else 0.0,
        offer=offer,
    )
