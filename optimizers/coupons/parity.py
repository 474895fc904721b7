"""Parity: how a coupon plan treats the groups of a protected attribute, which decides nothing and is reported only.

Rates and means by group with 95 % intervals, and their ratio to the group with the highest send rate (the comparison
of the four-fifths rule, 29 CFR 1607.4 D). The customers are seen as a sample of all whom the same rule would decide
on. Intervals: rates by Wilson (1927), means by the normal approximation, ratios of rates on the log scale (Katz,
Baptista, Azen and Pike 1978) with half a customer added to each cell, ratios of means by the delta method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.coupons.allocate import CouponPlan
from optimizers.coupons.problem import CouponProblem, Floats, Ints

Z = 1.959963984540054
"""Normal quantile of a 95 % interval."""
MAX_GROUPS = 100


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; not a number where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupParity:
    """One group of the protected attribute."""

    group: str
    customers: int
    sent: int
    send_rate: Estimate
    mean_profit: Estimate
    """Expected incremental profit of the plan for each customer of the group, money."""
    mean_cost: Estimate
    """Expected cost for each customer of the group, money: what the group receives."""
    send_rate_ratio: Estimate
    """To the reference group's; below .8 is the four-fifths rule's threshold."""
    mean_profit_ratio: Estimate
    mean_cost_ratio: Estimate


@dataclass(frozen=True)
class ParityReport:
    """All groups, in the order of their names."""

    attribute: str
    reference: str
    """Group with the highest send rate; the larger one of equals."""
    groups: tuple[GroupParity, ...]

    @property
    def least_ratio(self) -> float:
        """Smallest ratio of send rates among the groups; 1 where nobody is sent anything."""
        ratios = [group.send_rate_ratio.value for group in self.groups]
        return min((ratio for ratio in ratios if math.isfinite(ratio)), default=1.0)


def parity_report(problem: CouponProblem, plan: CouponPlan, attribute: str, values: npt.ArrayLike) -> ParityReport:
    """Compare the groups of a protected attribute.

    Args:
        problem: values and costs that the plan was made from.
        plan: the plan.
        attribute: its name, for the report.
        values: (N,) group of each customer; a missing one makes a group of its own.

    Raises:
        ProblemError: a wrong shape, more than `MAX_GROUPS` groups, or budgets that are set by the attribute, which
            would let it decide.
    """
    names, group = _groups(attribute, values, problem.n_customers)
    _refuse_as_segment(problem, attribute, group)
    people = np.arange(problem.n_customers)
    sent = (plan.choice > 0).astype(np.float64)
    profit, cost = (m[people, plan.choice].astype(np.float64) for m in (problem.profit, problem.cost))
    count = np.bincount(group, minlength=len(names)).astype(np.float64)
    rate = np.bincount(group, sent, len(names)) / np.maximum(count, 1)
    reference = int(np.lexsort((-count, -rate))[0]) if len(names) else 0
    columns = [_moments(group, values, count) for values in (profit, cost)]
    return ParityReport(
        attribute,
        names[reference] if names else "",
        tuple(
            GroupParity(
                group=name,
                customers=int(count[g]),
                sent=round(rate[g] * count[g]),
                send_rate=_wilson(rate[g], count[g]),
                mean_profit=_mean(*columns[0], g),
                mean_cost=_mean(*columns[1], g),
                send_rate_ratio=_rate_ratio(rate, count, g, reference),
                mean_profit_ratio=_mean_ratio(*columns[0], g, reference),
                mean_cost_ratio=_mean_ratio(*columns[1], g, reference),
            )
            for g, name in enumerate(names)
        ),
    )


def _groups(attribute: str, values: npt.ArrayLike, n: int) -> tuple[list[str], Ints]:
    array = np.asarray(values, dtype=object)
    if array.shape != (n,):
        raise ProblemError(f"{attribute} has shape {array.shape}; give one value per customer, ({n},)")
    text = np.array(["" if _missing(value) else str(value) for value in array.tolist()], dtype=str)
    names, group = np.unique(text, return_inverse=True)
    if len(names) > MAX_GROUPS:
        raise ProblemError(f"{attribute} has {len(names):,} groups, more than {MAX_GROUPS}; band it (age in decades)")
    return names.tolist(), group.astype(np.int64)


def _missing(value: Any) -> bool:  # noqa: ANN401 - whatever a table holds
    return value is None or value != value  # noqa: PLR0124 - only a missing number differs from itself


def _refuse_as_segment(problem: CouponProblem, attribute: str, group: Ints) -> None:
    if problem.segment is None or problem.segment_budget is None or len(np.unique(group)) < 2:
        return
    pairs = np.unique(np.column_stack([problem.segment, group]), axis=0)
    if len(pairs) == len(np.unique(problem.segment)):
        raise ProblemError(
            f"each segment with a budget holds one group of {attribute} only, so that the protected attribute decides "
            "who is sent a coupon; set the budgets by segments that do not follow it"
        )


def _moments(group: Ints, values: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Mean, and variance of the mean, by group."""
    n = np.maximum(count, 1)
    mean = np.bincount(group, values, len(count)) / n
    spread = np.bincount(group, (values - mean[group]) ** 2, len(count)) / np.maximum(n - 1, 1)
    return mean, spread / n


def _wilson(rate: float, n: float) -> Estimate:
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan)
    z2 = Z * Z / n
    middle = (rate + z2 / 2) / (1 + z2)
    half = Z * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n)) / (1 + z2)
    return Estimate(float(rate), max(0.0, middle - half), min(1.0, middle + half))


def _mean(mean: Floats, variance: Floats, g: int) -> Estimate:
    half = Z * math.sqrt(variance[g])
    return Estimate(float(mean[g]), float(mean[g] - half), float(mean[g] + half))


def _rate_ratio(rate: Floats, count: Floats, g: int, reference: int) -> Estimate:
    if rate[reference] == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(rate[g] / rate[reference])
    if g == reference:
        return Estimate(1.0, 1.0, 1.0)
    mine, other = ((rate[k] * count[k] + 0.5) / (count[k] + 0.5) for k in (g, reference))
    terms = [1 / (rate[k] * count[k] + 0.5) - 1 / (count[k] + 0.5) for k in (g, reference)]
    half = Z * math.sqrt(max(sum(terms), 0.0))
    centre = mine / other
    return Estimate(value, min(value, centre * math.exp(-half)), max(value, centre * math.exp(half)))


def _mean_ratio(mean: Floats, variance: Floats, g: int, reference: int) -> Estimate:
    if mean[reference] == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(mean[g] / mean[reference])
    if g == reference:
        return Estimate(1.0, 1.0, 1.0)
    half = Z * math.sqrt(variance[g] + value**2 * variance[reference]) / abs(mean[reference])
    return Estimate(value, float(value - half), float(value + half))
