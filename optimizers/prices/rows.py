"""The rules between prices, as the solver takes them: a mask over the ladder, and rows over what is chosen from it.

Whoever has a rule (a setting, a rules file, a manager's lock) turns it into these two; the solver knows no other kind.
A row whose products lie in one family is kept inside that family; any other row couples families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Measure = Literal["linear", "units", "revenue", "profit", "margin"]
MEASURES: tuple[Measure, ...] = ("linear", "units", "revenue", "profit", "margin")


@dataclass(frozen=True)
class LinearRow:
    """One rule over several products: low <= what is chosen <= high.

    `measure` says what is added up over the row's products:
    "linear": Σ coefficient · x[product, rung], x = 1 where the product takes the rung; a rung not listed counts 0.
    "units", "revenue", "profit": expected units, revenue or profit over the horizon of the products listed, by exact
    demand, substitution inside the family included; `rung` and `coefficient` are empty.
    "margin": expected profit / revenue of the products listed; its violation is counted in profit (money).
    """

    name: str
    product: Ints
    """(n,) row numbers of products."""
    rung: Ints
    """(n,) columns of the ladder; (0,) unless linear."""
    coefficient: Floats
    """(n,) any unit; (0,) unless linear."""
    low: float = -np.inf
    high: float = np.inf
    penalty: float | None = None
    """Money per unit of violation where the rule is soft; None: hard."""
    measure: Measure = "linear"


@dataclass(frozen=True)
class PriceRows:
    """The rules of one problem over its ladder (`prices.problem_ladder`)."""

    allowed: Bools
    """(P, K) False: the rung may not be taken. Today's may be ruled out too."""
    rows: tuple[LinearRow, ...] = ()


def check_rows(rows: PriceRows, rungs: Bools, product_ids: tuple[str, ...]) -> None:
    """Refuse rows that do not fit the ladder.

    Args:
        rows: the rules.
        rungs: (P, K) True where the ladder has a price.
        product_ids: (P,) names for messages.

    Raises:
        ProblemError: a wrong shape, an unknown product or rung, a number that is none, low above high, a negative
            penalty, a product without any permitted price; the message names the row or product, and the value.
    """
    if rows.allowed.shape != rungs.shape:
        raise ProblemError(
            f"allowed has shape {rows.allowed.shape}, the ladder {rungs.shape}; build it over the ladder"
        )
    stuck = np.flatnonzero(~(rows.allowed & rungs).any(axis=1))
    if len(stuck):
        raise ProblemError(
            f"product {product_ids[int(stuck[0])]}: the rules leave it no price at all; relax one of those that name it"
        )
    for row in rows.rows:
        _check_row(row, rungs)


def _check_row(row: LinearRow, rungs: Bools) -> None:
    def refuse(what: str) -> None:
        raise ProblemError(f"rule {row.name!r}: {what}")

    if row.measure not in MEASURES:
        refuse(f"measure is {row.measure!r}; allowed: {', '.join(MEASURES)}")
    expected = len(row.product) if row.measure == "linear" else 0
    if len(row.rung) != expected or len(row.coefficient) != expected:
        refuse(f"{len(row.product)} products, {len(row.rung)} rungs, {len(row.coefficient)} coefficients do not match")
    for name, numbers, count in (("product", row.product, len(rungs)), ("rung", row.rung, rungs.shape[1])):
        if numbers.dtype.kind not in "iu":
            refuse(f"the {name} numbers are of type {numbers.dtype}; give whole numbers")
        strange = numbers[(numbers < 0) | (numbers >= count)]
        if len(strange):
            refuse(f"a {name} is numbered {int(strange[0])}; they go from 0 to {count - 1}")
    if not np.isfinite(row.coefficient).all():
        refuse("a coefficient is not finite")
    if np.isnan(row.low) or np.isnan(row.high) or row.low > row.high:
        refuse(f"low is {row.low:g} and high {row.high:g}; give low <= high")
    if row.low == np.inf or row.high == -np.inf:
        refuse(f"low is {row.low:g} and high {row.high:g}; give a finite limit, or leave it out")
    if row.penalty is not None and not 0 <= row.penalty < np.inf:
        refuse(f"penalty is {row.penalty:g}; give 0 or more money per unit of violation, or none for a hard rule")
