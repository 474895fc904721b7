"""The solver's edge: why it stopped is one thing, what is held another."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest

from engine.errors import InfeasibleError, ProblemError
from optimizers.gap import relative_gap
from optimizers.solver import Stop, compile_model, relax, solve


def knapsack(capacity: float = 3.5, sense: int = pyo.maximize) -> pyo.ConcreteModel:
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(3), domain=pyo.Binary)
    model.idle = pyo.Var(bounds=(2, 5))
    sign = 1 if sense == pyo.maximize else -1
    model.value = pyo.Objective(expr=sign * (3 * model.x[0] + 2 * model.x[1] + model.x[2] + 7), sense=sense)
    model.room = pyo.Constraint(expr=2 * model.x[0] + 2 * model.x[1] + model.x[2] <= capacity)
    model.both = pyo.Constraint(expr=(0, model.x[0] + model.x[2], 2))
    return model


@pytest.mark.parametrize("sense", [pyo.maximize, pyo.minimize])
def test_optimum_bound_and_duals_have_the_models_own_sign(sense: int) -> None:
    sign = 1 if sense == pyo.maximize else -1
    model = knapsack(sense=sense)
    solution, relaxed = solve(model, gap=0.0), relax(model)
    assert (solution.stop, solution.objective, solution.bound, solution.gap) == (Stop.OPTIMAL, sign * 11, sign * 11, 0)
    assert solution.of(model.x).tolist() == [1, 0, 1]
    assert solution.of(model.idle).tolist() == [2.0], "in no rule: the feasible value nearest to 0"
    assert relaxed.objective == pytest.approx(sign * 11.5)
    assert relaxed.dual(model.room) == pytest.approx(sign * 1.0)
    assert relaxed.dual(model.both) == pytest.approx(0.0)


def test_no_time_holds_nothing_unless_a_start_is_given() -> None:
    model = knapsack()
    empty = solve(model, seconds=0)
    assert empty.stop == Stop.TIME_LIMIT
    assert not empty.holds
    assert (empty.values, empty.objective, empty.gap) == (None, None, None)
    with pytest.raises(ProblemError, match="no solution is held"):
        empty.of(model.x)
    started = solve(model, seconds=0, start=np.array([0.0, 1.0, 0.0]))
    assert started.holds
    assert started.objective == 9.0
    assert started.gap == np.inf, "nothing was proven"


def test_infeasible_is_told_without_numbers() -> None:
    impossible = knapsack(capacity=-1.0)
    solution, relaxed = solve(impossible), relax(impossible)
    assert (solution.stop, solution.values, solution.bound) == (Stop.INFEASIBLE, None, None)
    with pytest.raises(ProblemError, match="no shadow prices"):
        relaxed.dual(impossible.room)


def test_a_rule_without_variables_that_fails_is_infeasible_and_named() -> None:
    model = knapsack()
    model.x[0].fix(1)
    model.never = pyo.Constraint(expr=model.x[0] <= 0)
    assert solve(model).stop == Stop.INFEASIBLE
    with pytest.raises(InfeasibleError, match="never"):
        compile_model(model)


def test_a_compiled_model_is_solved_again_under_other_costs() -> None:
    compiled = compile_model(knapsack())
    solution = solve(compiled, cost=np.array([0.0, 5.0, 0.0]))
    assert solution.objective == 12.0
    assert solution.build_seconds < compiled.build_seconds + 1e-3


def test_a_model_without_variables_is_its_constant() -> None:
    model = pyo.ConcreteModel()
    model.value = pyo.Objective(expr=5.0)
    assert solve(model).objective == 5.0
    assert relax(model).objective == 5.0


def test_linear_models_have_their_optimum_as_bound() -> None:
    model = pyo.ConcreteModel()
    model.x = pyo.Var(bounds=(0, 4))
    model.value = pyo.Objective(expr=2 * model.x, sense=pyo.maximize)
    model.most = pyo.Constraint(expr=model.x <= 3)
    solution = solve(model)
    assert (solution.objective, solution.bound, solution.gap) == (6.0, 6.0, 0.0)


@pytest.mark.parametrize(
    ("objective", "bound", "gap"), [(9.0, 10.0, 0.1), (0.0, 0.0, 0.0), (-11.0, -10.0, 0.1), (1.0, None, np.inf)]
)
def test_gap_is_relative_to_the_bound(objective: float, bound: float | None, gap: float) -> None:
    assert relative_gap(objective, bound) == pytest.approx(gap)
