"""The whole price problem as one integer model for HiGHS: what families as columns are measured against.

A binary for each rung of each product; substitution and margins to first order around today's prices, which is easier
than the exact demand that the product optimises. Handed over as arrays, so that building costs it next to nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from optimizers.prices import PriceProblem, problem_ladder
from optimizers.prices import model as price_model
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.prices.system import all_rows
from optimizers.solver import CompiledModel, Solution, solve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def solve_monolith(problem: PriceProblem, rows: PriceRows, seconds: float) -> Solution:
    """Solve by HiGHS within a time limit, seconds; gap and objective are of the model to first order."""
    return solve(monolith(problem, rows), gap=1e-4, seconds=seconds)


def monolith(problem: PriceProblem, rows: PriceRows) -> CompiledModel:
    """One binary for each rung, today's included; rows that are not linear to first order."""
    ladder = problem_ladder(problem)
    rules = all_rows(problem, ladder, rows)
    families = price_model.Families.of(problem)
    gain = price_model.rung_model(problem, families, ladder, problem.current_price).gain
    product, rung = np.nonzero(rules.allowed)
    place = np.full(ladder.price.shape, -1, dtype=np.int64)
    place[product, rung] = np.arange(len(product))
    units = _units(problem, ladder.price)
    matrix, low, high = [], [], []
    for row in rules.rows:
        matrix.append(_coefficients(problem, row, place, units, ladder.price))
        low.append(0.0 if row.measure == "margin" else row.low)
        high.append(np.inf if row.measure == "margin" else row.high)
    many, count = len(problem.product_ids), len(product)
    pick = sparse.csr_matrix((np.ones(count), (product, np.arange(count))), shape=(many, count))
    return CompiledModel(
        columns=tuple(range(count)),
        rows=tuple(range(many + len(low))),
        sense=-1,
        cost=gain[product, rung],
        offset=0.0,
        matrix=sparse.vstack([pick, *matrix]).tocsc(),
        row_low=np.concatenate([np.ones(many), low]),
        row_high=np.concatenate([np.ones(many), high]),
        column_low=np.zeros(count),
        column_high=np.ones(count),
        integer=np.ones(count, dtype=np.bool_),
    )


def _units(problem: PriceProblem, price: Floats) -> Floats:
    """Expected units (P, K) at each rung, all others at today's prices."""
    found = np.zeros(price.shape)
    nobody_moved = np.ones(problem.cross.shape)
    for k in range(price.shape[1]):
        asked = np.where(np.isfinite(price[:, k]), price[:, k], problem.current_price)
        found[:, k] = price_model.draw_units(problem, asked, nobody_moved).mean(axis=0)
    return found


def _coefficients(problem: PriceProblem, row: LinearRow, place: Ints, units: Floats, price: Floats) -> object:
    """One row of the model, (1, C)."""
    product, rung, value = row.product, row.rung, row.coefficient
    if row.measure != "linear":
        inside, rung = np.nonzero(place[row.product] >= 0)
        product = row.product[inside]
        each = price[product, rung] - problem.unit_cost[product]
        weight = {"units": np.ones(len(product)), "revenue": price[product, rung], "profit": each}
        weight["margin"] = each - row.low * price[product, rung]
        value = units[product, rung] * weight[row.measure]
    kept = place[product, rung] >= 0
    at = place[product, rung][kept]
    return sparse.csr_matrix((value[kept], (np.zeros(len(at), np.int64), at)), shape=(1, int(place.max()) + 1))
