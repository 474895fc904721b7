"""The design of a test of two coupon policies that share one budget: cells of customers, each with its own purse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.assign import Split
from experiments.decide import DecisionRule
from experiments.design import Assigned, Design, notes_on, plan_for, sooner, usual_rule
from experiments.history import Outcome
from experiments.power import Sizing, detectable_watched, duration_watched, power_watched
from experiments.randomise import seeded, stratified
from experiments.sequential import Method, Spending
from experiments.shared_budget import BudgetSplit, share_out

_CELLS = N_("Customers are in {cells} cells; each runs one policy on its own share of the {budget:,.0f}.")


def design_budget_split(
    name: str,
    outcome: Outcome,
    customers: int,
    effect: float,
    *,
    budget: float,
    cells: int,
    metrics: Sequence[Mapping[str, Any]],
    weeks: int | None = None,
    method: Method = "fixed",
    looks: int = 5,
    spending: Spending = "obrien_fleming",
    alpha: float = 0.05,
    power: float = 0.8,
    rule: DecisionRule | None = None,
) -> Design:
    """Design a budget split.

    Args:
        name: of the experiment; it seeds cells and policies.
        outcome: what history says of a customer's profit, net of coupon cost.
        customers: how many take part.
        effect: for each customer that must not be missed.
        budget: money for all cells together.
        cells: how many; they are the units of the analysis.
        metrics: as data: one profit, with its `cost`.
        weeks: that the budget lasts; None: it is read once, when the budget is spent.
        method: how it is read; the effect at a look is that of the time so far.
        looks: planned readings, unless it is read once.
        spending: how a group-sequential plan spends its error over the looks.
        alpha: 1 - confidence.
        power: wanted.
        rule: how the result decides; None: the usual rule.

    Raises:
        ProblemError: fewer than 4 cells or a budget that is no money, several readings without weeks or of fewer than 6
            cells, or what `power_at` refuses.
    """
    if cells < 4 or not budget > 0:
        raise ProblemError(
            f"{cells} cells and a budget of {budget:g}: give 4 cells or more, 40 to 100 as a rule, and money"
        )
    variant = stratified(np.zeros(cells), (0.5, 0.5), seeded(name))
    plan = plan_for(method, alpha=alpha, units=cells, looks=looks, spending=spending)
    # Cells are drawn at random, so that customers of one are no more alike than others; only the freedom is theirs.
    by_cell = replace(outcome, cluster_size=customers / cells, correlation=0.0)
    sizing = Sizing(
        customers,
        weeks,
        effect,
        power_watched(by_cell, effect, customers, plan),
        detectable_watched(by_cell, customers, plan, power=power),
    )
    ends = duration_watched(by_cell, effect, customers, plan)
    return Design(
        name=name,
        treatment="coupon",
        unit="customer",
        draw="budget_split",
        metrics=tuple(metrics),
        split=Split(name),
        plan=plan,
        rule=rule or usual_rule(str(metrics[0]["name"]), effect),
        sizing=sizing,
        outcome=by_cell,
        assigned=Assigned(tuple(str(cell) for cell in range(cells)), tuple(variant.tolist())),
        budget=budget,
        notes=(Reason(_CELLS, {"cells": cells, "budget": budget}), *sooner(plan, ends), *notes_on(outcome)),
    )


def budget_split_of(design: Design, ids: Sequence[Any] | npt.NDArray[Any]) -> BudgetSplit:
    """Cells of (n,) customers, their policies and their shares of the budget, by a stored design.

    Raises:
        ProblemError: the design splits no budget, or a cell is empty.
    """
    if design.budget is None or design.assigned is None:
        raise ProblemError(f"experiment {design.name!r} splits no budget")
    return share_out(ids, design.budget, variant=design.assigned.variant, seed=design.split.seed)
