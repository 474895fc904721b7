"""Comparing two allocation policies that draw on one coupon budget.

In one pot the policies are no strangers: what one spends, the other lacks, and customers of the modest policy pay for
the greedy one. The difference between their customers is then no answer to "what if everybody had policy B". Two ways
out:

*Budget split*: customers are put into cells, every cell runs one policy on its own share of the budget, and cells are
the units (Liu, Mao and Kang 2021, Trustworthy and powerful online marketplace experimentation with budget-split
design). *Shadow price*: where one pot is all there is, spending is charged at what money is worth in the pot (Bright,
Delarue and Lobel 2022, Reducing marketplace interference bias via shadow prices): right to first order only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import ProblemError
from experiments.cluster_robust import matched_freedom
from experiments.hashing import BUCKETS, buckets_of
from experiments.randomise import stratified

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_FEWEST_CELLS = 4


@dataclass(frozen=True)
class BudgetSplit:
    """Which cell a customer is in, which policy a cell runs, and what it may spend."""

    cell: Ints
    """(customers,) cell 0…cells-1 of each customer; a hash, the same on every machine."""
    variant: Ints
    """(cells,) policy of each cell: 0 control, 1 treatment."""
    budget: Floats
    """(cells,) money that each cell may spend; they add up to the whole budget."""

    @property
    def customer_variant(self) -> Ints:
        """(customers,) policy of each customer."""
        return self.variant[self.cell]


@dataclass(frozen=True)
class BudgetReading:
    """Effect of policy B over policy A for each customer, both on the whole budget."""

    estimate: float
    low: float
    high: float
    p_value: float
    standard_error: float
    freedom: float
    """Degrees of freedom of the standard error."""
    units: int
    """Cells of a budget split; customers of one pot."""
    naive: float
    """Difference of the customers' means, as if nobody shared anything."""
    naive_low: float
    naive_high: float
    spend: tuple[float, float]
    """Money spent for each customer by policy A and B."""


def split_budget(
    ids: Sequence[Any] | npt.NDArray[Any],
    budget: float,
    *,
    cells: int,
    seed: str,
    rng: np.random.Generator,
    weights: Sequence[float] = (0.5, 0.5),
) -> BudgetSplit:
    """Split customers and budget into cells, and cells between two policies.

    Args:
        ids: (n,) customers.
        budget: money for all of them together.
        cells: how many; 40 or more give a good interval, each large enough to spend its share evenly (hundreds).
        seed: of the cells' hash.
        rng: source of chance for the cells' policies.
        weights: share of the cells with each policy.

    Raises:
        ProblemError: cells so many that some are empty, too few for an interval, or a budget that is no money.
    """
    if not _FEWEST_CELLS <= cells <= BUCKETS[2]:
        raise ProblemError(f"{cells} cells: give {_FEWEST_CELLS} to {BUCKETS[2]:,}; 40 to 100 are usual")
    if not math.isfinite(budget) or budget <= 0:
        raise ProblemError(f"budget {budget}: give a positive amount of money")
    return share_out(ids, budget, variant=stratified(np.zeros(cells), weights, rng), seed=seed)


def share_out(
    ids: Sequence[Any] | npt.NDArray[Any], budget: float, *, variant: npt.ArrayLike, seed: str
) -> BudgetSplit:
    """Put customers into cells whose policies were drawn before, and give each cell its share of the budget.

    Args:
        ids: (n,) customers.
        budget: money for all of them together.
        variant: (cells,) policy of each cell.
        seed: of the cells' hash.

    Raises:
        ProblemError: a cell is empty.
    """
    arms = np.asarray(variant, dtype=np.int64)
    cell = buckets_of(ids, seed, 2).astype(np.int64) * arms.size // BUCKETS[2]
    size = np.bincount(cell, minlength=arms.size)
    if size.min() == 0:
        empty = int(size.argmin())
        raise ProblemError(f"{size.sum():,} customers leave cell {empty} of {arms.size} empty; use fewer cells")
    return BudgetSplit(cell, arms, budget * size / size.sum())


def read_budget_split(
    profit: npt.ArrayLike,
    cost: npt.ArrayLike,
    split: BudgetSplit,
    *,
    before: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> BudgetReading:
    """Read a budget split: profit for each customer, by cells.

    Args:
        profit: (n,) net of coupon cost, of each customer.
        cost: (n,) coupon cost of each customer; only shown.
        split: as it ran.
        before: (n,) covariate from before the start, such as last month's profit; takes variance off.
        alpha: 1 - confidence.

    Raises:
        ProblemError: a value is missing, or a policy has fewer than two cells.
    """
    y, spent = _finite("profit", profit, split.cell.size), _finite("cost", cost, split.cell.size)
    arms = np.bincount(split.variant, minlength=2)
    if arms.size != 2 or arms.min() < 2:
        raise ProblemError(
            f"policies have {arms.tolist()} cells; two policies with two or more cells each are compared"
        )
    size = np.bincount(split.cell, minlength=split.variant.size).astype(np.float64)
    columns = [np.ones(size.size), split.variant.astype(np.float64)]
    if before is not None:
        past = _finite("before", before, split.cell.size)
        columns.append(np.bincount(split.cell, past, size.size) / size - past.mean())
    means = np.bincount(split.cell, y, size.size) / size
    estimate, error, freedom = _weighted_difference(np.column_stack(columns), means, size)
    return _reading(estimate, error, freedom, y, spent, split.customer_variant, split.variant.size, alpha)


def read_one_pot(
    profit: npt.ArrayLike, cost: npt.ArrayLike, variant: npt.ArrayLike, *, shadow_price: float, alpha: float = 0.05
) -> BudgetReading:
    """Read a test whose policies shared one pot, with spending charged at the pot's shadow price.

    Args:
        profit: (n,) net of coupon cost, of each customer.
        cost: (n,) coupon cost of each customer.
        variant: (n,) 0 or 1.
        shadow_price: profit that one more unit of money would have earned in this pot, as the allocation reports it
            (`plan.shadow_price`); 0 where money was left over.
        alpha: 1 - confidence.

    Raises:
        ProblemError: a value is missing, a variant has fewer than two customers, or the shadow price is negative.
    """
    arm = np.asarray(variant, dtype=np.int64)
    y, spent = _finite("profit", profit, arm.size), _finite("cost", cost, arm.size)
    if not shadow_price >= 0 or not math.isfinite(shadow_price):
        raise ProblemError(f"shadow price {shadow_price}: give the non-negative one that the allocation reported")
    if np.bincount(arm, minlength=2)[:2].min() < 2 or arm.min() < 0 or arm.max() > 1:
        raise ProblemError("two variants, 0 and 1, with two or more customers each are compared")
    charged = y - shadow_price * spent
    x = np.column_stack([np.ones(arm.size), arm.astype(np.float64)])
    estimate, error, freedom = _weighted_difference(x, charged, np.ones(arm.size))
    return _reading(estimate, error, freedom, y, spent, arm, arm.size, alpha)


def _weighted_difference(x: Floats, y: Floats, weight: Floats) -> tuple[float, float, float]:
    """Coefficient of column 1 by weighted least squares, with its HC2 standard error and degrees of freedom.

    These are Bell and McCaffrey's: fewer than rows less columns, where a covariate gives few cells unlike leverage.
    """
    root = np.sqrt(weight)[:, None]
    scaled = x * root
    inverse: Floats = np.linalg.inv(scaled.T @ scaled).astype(np.float64)
    residual = (y - x @ (inverse @ scaled.T @ (y * root[:, 0]))) * root[:, 0]
    leverage = np.einsum("ij,jk,ik->i", scaled, inverse, scaled)
    pull = (scaled @ inverse)[:, 1] / np.sqrt(np.maximum(1 - leverage, 1e-12))
    error = math.sqrt(float(np.sum(pull**2 * residual**2)))
    estimate = float((inverse @ scaled.T @ (y * root[:, 0]))[1])
    if error == 0.0:
        raise ProblemError("profit has no variance within the policies; check the column")
    return estimate, error, matched_freedom(pull**2, pull[:, None] * scaled, inverse)


def _reading(
    estimate: float, error: float, freedom: float, y: Floats, spent: Floats, arm: Ints, units: int, alpha: float
) -> BudgetReading:
    width = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
    off, on = y[arm == 0], y[arm == 1]
    naive = float(on.mean() - off.mean())
    naive_width = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(
        on.var(ddof=1) / on.size + off.var(ddof=1) / off.size
    )
    return BudgetReading(
        estimate=estimate,
        low=estimate - width,
        high=estimate + width,
        p_value=float(2 * stats.t.sf(abs(estimate) / error, freedom)),
        standard_error=error,
        freedom=freedom,
        units=units,
        naive=naive,
        naive_low=naive - naive_width,
        naive_high=naive + naive_width,
        spend=(float(spent[arm == 0].mean()), float(spent[arm == 1].mean())),
    )


def _finite(name: str, values: npt.ArrayLike, size: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (size,) or not np.all(np.isfinite(array)):
        raise ProblemError(
            f"{name} has shape {array.shape} or missing values; give a finite number for {size} customers"
        )
    return array
