"""The independent re-check of a markdown plan: shares no code with the search, written for plainness."""

from __future__ import annotations

import math
from collections.abc import Iterator

from engine.errors import PlanError
from optimizers.markdown.plan import MarkdownPlan
from optimizers.markdown.problem import MarkdownProblem

MONEY = 1e-6
"""Relative tolerance on sums of money."""


def check_markdown_plan(problem: MarkdownProblem, plan: MarkdownPlan) -> None:
    """Make sure that a plan keeps every rule and that its figures are right.

    Raises:
        PlanError: a price off the ladder, a rise, a change too many or too early, a week with too many changes, an
            objective or sales that simulation does not give, a bound below the objective; the message lists all.
    """
    products, weeks = len(problem.product_ids), len(problem.week_units)
    if plan.rung.shape != (products, weeks):
        raise PlanError(f"the markdown plan has shape {plan.rung.shape}, expected ({products}, {weeks})")
    faults = [fault for i in range(products) for fault in _path_faults(problem, plan, i)]
    faults += _week_faults(problem, plan)
    if not faults:
        faults += _figure_faults(problem, plan)
    if faults:
        raise PlanError("the markdown plan failed its re-check and was not used: " + "; ".join(faults[:20]))


def _path_faults(problem: MarkdownProblem, plan: MarkdownPlan, i: int) -> Iterator[str]:
    name = problem.product_ids[i]
    before = int(problem.current_rung[i])
    held = problem.min_weeks_between if problem.weeks_held is None else int(problem.weeks_held[i])
    steps = 0
    for w in range(len(problem.week_units)):
        rung, price = int(plan.rung[i, w]), float(plan.price[i, w])
        if not 0 <= rung < problem.ladder.shape[1] or price != float(problem.ladder[i, rung]):
            yield f"product {name}, week {w}: {price} is not the price of rung {rung}"
            return
        if rung != before:
            steps += 1
            if problem.non_increasing and price > float(problem.ladder[i, before]):
                yield f"product {name}, week {w}: the price rises to {price}"
            if held < problem.min_weeks_between:
                yield f"product {name}, week {w}: the price changes after {held} weeks"
            held = 0
        held, before = held + 1, rung
    if problem.max_steps is not None and steps > problem.max_steps[i]:
        yield f"product {name}: {steps} changes, {problem.max_steps[i]} are left to it"


def _week_faults(problem: MarkdownProblem, plan: MarkdownPlan) -> Iterator[str]:
    if problem.max_changed is None:
        return
    for w in range(len(problem.week_units)):
        before = problem.current_rung if w == 0 else plan.rung[:, w - 1]
        changed = sum(int(a) != int(b) for a, b in zip(before, plan.rung[:, w], strict=True))
        if changed > problem.max_changed:
            yield f"week {w}: {changed} prices change, {problem.max_changed} may"


def simulate_path(problem: MarkdownProblem, plan: MarkdownPlan, i: int) -> tuple[float, float, float]:
    """Sell product i down its path under every draw: expected (units sold, units left, money)."""
    sold_sum, left_sum, money_sum = 0.0, 0.0, 0.0
    draws = len(problem.own)
    for d in range(draws):
        chance = 1.0 / draws if problem.weight is None else float(problem.weight[d, i])
        left, money = float(problem.stock[i]), 0.0
        for w in range(len(problem.week_units)):
            price = float(plan.price[i, w])
            ratio = math.exp(float(problem.own[d, i]) * math.log(price / float(problem.reference_price[i])))
            demand = float(problem.week_units[w, i]) * float(problem.base_scale[d, i]) * ratio
            if problem.noise is not None:
                demand *= float(problem.noise[d, w, i])
            sold = left if demand > left else demand
            left -= sold
            money += sold * (price - float(problem.unit_cost[i]))
        money += left * float(problem.salvage[i])
        sold_sum += chance * (float(problem.stock[i]) - left)
        left_sum += chance * left
        money_sum += chance * money
    return sold_sum, left_sum, money_sum


def _figure_faults(problem: MarkdownProblem, plan: MarkdownPlan) -> Iterator[str]:
    total, scale = 0.0, 1e-9
    for i, name in enumerate(problem.product_ids):
        sold, left, money = simulate_path(problem, plan, i)
        total += money
        scale += abs(money)
        near = MONEY * max(float(problem.stock[i]), 1.0)
        if abs(sold - float(plan.sales[i].sum())) > near or abs(left - float(plan.leftover[i])) > near:
            yield f"product {name}: sales {plan.sales[i].sum()} and {plan.leftover[i]} left; they are {sold}, {left}"
    if abs(total - plan.objective) > MONEY * scale:
        yield f"the objective is given as {plan.objective}, simulation gives {total}"
    if plan.bound < plan.objective - MONEY * scale:
        yield f"the bound {plan.bound} lies below the objective {plan.objective}"
    if plan.objective < plan.kept - MONEY * scale:
        yield f"the plan is worth {plan.objective}, less than today's prices kept: {plan.kept}"
    gap = 0.0 if plan.bound <= plan.objective else (plan.bound - plan.objective) / max(abs(plan.bound), 1e-300)
    if abs(gap - plan.gap) > MONEY * max(1.0, gap):
        yield f"the gap is given as {plan.gap}, bound and objective give {gap}"
