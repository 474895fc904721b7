"""The re-check of rows: every row that is broken by hand is named, and fines are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from price_cases import small_problem

from engine.errors import PlanError
from optimizers.prices import evaluate_prices, problem_ladder, solve_prices
from optimizers.prices.check import check_price_plan
from optimizers.prices.rows import LinearRow, Measure, PriceRows

NOTHING = np.empty(0)
PROBLEM = small_problem(11, 4, family=np.array([0, 0, 1, 1]), cross=0.5)
LADDER = problem_ladder(PROBLEM)
NO_RULE = PriceRows(LADDER.rungs)
FREE = solve_prices(PROBLEM, gap=1e-6)


def measured(measure: Measure, low: float, penalty: float | None = None) -> PriceRows:
    row = LinearRow("floor", np.arange(4), NOTHING.astype(int), NOTHING, low=low, penalty=penalty, measure=measure)
    return PriceRows(LADDER.rungs, (row,))


@pytest.mark.parametrize("measure", ["units", "revenue", "profit", "margin"])
def test_a_floor_that_the_plan_breaks_is_named(measure: Measure) -> None:
    check_price_plan(PROBLEM, FREE, measured(measure, low=1e-3))
    with pytest.raises(PlanError, match="the rule 'floor' allows 1e"):
        check_price_plan(PROBLEM, FREE, measured(measure, low=1e9))


@pytest.mark.parametrize("measure", ["units", "revenue", "profit", "margin"])
def test_a_floor_is_held_to_a_hundred_thousandth(measure: Measure) -> None:
    made = evaluate_prices(PROBLEM, FREE.price)
    revenue = float((made.units * FREE.price).sum())
    sums = {"units": float(made.units.sum()), "revenue": revenue, "profit": float(made.profit.sum())}
    reached = sums.get(measure, sums["profit"] / revenue)
    check_price_plan(PROBLEM, FREE, measured(measure, low=reached * (1 - 1e-9)))
    slack = 1e-5 * max(reached, 1.0)
    with pytest.raises(PlanError, match="the rule 'floor' allows"):
        check_price_plan(PROBLEM, FREE, measured(measure, low=reached + slack))


@pytest.mark.parametrize("measure", ["units", "revenue", "profit", "margin"])
def test_fines_of_soft_rows_are_part_of_the_objective(measure: Measure) -> None:
    level = {"units": 600.0, "revenue": 5000.0, "profit": 2500.0, "margin": 0.45}[measure]
    rows = measured(measure, low=level, penalty=0.05)
    plan = solve_prices(PROBLEM, rows=rows, gap=1e-6)
    check_price_plan(PROBLEM, plan, rows)
    with pytest.raises(PlanError, match="exact demand gives"):
        check_price_plan(PROBLEM, replace(plan, objective=plan.objective + 1.0, bound=plan.bound + 1.0), rows)


def test_a_rung_that_the_rules_forbid_is_named() -> None:
    moved = int(np.flatnonzero(FREE.price != PROBLEM.current_price)[0])
    allowed = LADDER.rungs.copy()
    allowed[moved] = np.arange(allowed.shape[1]) == LADDER.today
    with pytest.raises(PlanError, match=f"product p{moved}: the rules forbid"):
        check_price_plan(PROBLEM, FREE, PriceRows(allowed))


def test_an_order_between_prices_is_measured_at_the_rungs_taken() -> None:
    product, rung = np.nonzero(LADDER.rungs[:2])
    sign = np.where(product == 0, 1.0, -1.0)
    gap = float(FREE.price[0] - FREE.price[1])
    for room, fits in ((1e-6, True), (-0.01, False)):
        row = LinearRow("order", product, rung, sign * LADDER.price[product, rung], high=gap + room)
        rows = PriceRows(LADDER.rungs, (row,))
        if fits:
            check_price_plan(PROBLEM, FREE, rows)
        else:
            with pytest.raises(PlanError, match="the rule 'order' allows"):
                check_price_plan(PROBLEM, FREE, rows)


def test_a_plan_that_rules_drive_below_today_is_no_fault() -> None:
    dear = LADDER.rungs & (np.arange(LADDER.rungs.shape[1]) == 0)
    rows = PriceRows(dear, measured("units", 1e-3).rows)
    plan = solve_prices(PROBLEM, rows=rows)
    assert plan.objective < 0
    check_price_plan(PROBLEM, plan, rows)
    with pytest.raises(PlanError, match="loses"):
        check_price_plan(PROBLEM, plan)


def test_soft_rules_about_single_prices_cost_the_proof_nothing() -> None:
    """Each rung pays its own fine: the plan stays proven, its fines are counted, and what they cost is in the gain."""
    problem = small_problem(5, 40, draws=3, family=np.arange(40) // 8, index_band=0.01)
    ladder = problem_ladder(problem)
    move = 100 * np.abs(ladder.price / problem.current_price[:, None] - 1)
    rows = []
    for i in range(40):
        rungs = np.flatnonzero(ladder.rungs[i])
        fine = float(problem.current_price[i] * problem.base_units[i]) * 1e-3
        rows.append(LinearRow("move", np.full(len(rungs), i), rungs, move[i, rungs], high=6.0, penalty=fine))
    product, rung = np.nonzero(ladder.rungs)
    rows.append(LinearRow("all moves", product, rung, move[product, rung], high=0.0, penalty=0.05))
    soft = PriceRows(ladder.rungs, tuple(rows))
    plan, free = solve_prices(problem, rows=soft, gap=1e-3), solve_prices(problem, gap=1e-3)
    assert plan.status == "optimal"
    assert plan.objective < free.objective
    check_price_plan(problem, plan, soft)
