"""Parity: how a coupon plan treats the groups of a protected attribute, which decides nothing and is reported only.

Rates and means by group with 95 % intervals, and their ratio to the group with the highest send rate (the comparison
of the four-fifths rule, 29 CFR 1607.4 D). The customers are seen as a sample of all whom the same rule would decide
on. Intervals: rates by Wilson (1927), means by the normal approximation, ratios of rates on the log scale (Katz,
Baptista, Azen and Pike 1978) with half a customer added to each cell, ratios of means by the delta method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.coupons.plan import CouponPlan
from optimizers.coupons.problem import Bools, CouponProblem, Floats, Ints
from optimizers.coupons.sums import Partition

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
    if problem.segment is not None and problem.segment_budget is not None:
        refuse_as_segment(attribute, np.unique(np.column_stack([problem.segment, group]), axis=0))
    people = np.arange(problem.n_customers)
    profit, cost = (m[people, plan.choice].astype(np.float64) for m in (problem.profit, problem.cost))
    return report(attribute, names, moments_of(group, len(names), plan.choice > 0, profit, cost))


@dataclass(frozen=True)
class Moments:
    """Sums by group (G,), from which a report is drawn up; those of parts of the customers can be merged."""

    count: Floats
    sent: Floats
    mean: Floats
    """(2, G) profit and cost of a customer, money."""
    squares: Floats
    """(2, G) sum of the squared differences from the mean."""

    def merged(self, other: Moments) -> Moments:
        """Of both together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.count * share
        return Moments(count, self.sent + other.sent, self.mean + apart * share, squares)

    def placed(self, place: Ints, groups: int) -> Moments:
        """The same among more groups, each at its `place` (G,) of `groups`."""
        found = Moments.of_nobody(groups)
        found.count[place], found.sent[place] = self.count, self.sent
        found.mean[:, place], found.squares[:, place] = self.mean, self.squares
        return found

    @staticmethod
    def of_nobody(groups: int) -> Moments:
        """No customers in any group."""
        return Moments(np.zeros(groups), np.zeros(groups), np.zeros((2, groups)), np.zeros((2, groups)))


def moments_of(group: Ints, groups: int, sent: Bools, profit: Floats, cost: Floats) -> Moments:
    """Moments of customers, each with the number of his group (N,), whether he is sent a coupon, and its money."""
    count = np.bincount(group, minlength=groups).astype(np.float64)
    mean, squares = np.zeros((2, groups)), np.zeros((2, groups))
    for k, values in enumerate((profit, cost)):
        mean[k] = np.bincount(group, values, groups) / np.maximum(count, 1)
        squares[k] = np.bincount(group, (values - mean[k][group]) ** 2, groups)
    return Moments(count, np.bincount(group, sent.astype(np.float64), groups).astype(np.float64), mean, squares)


@dataclass(frozen=True)
class PartParity:
    """What the customers of one part (a chunk, a Spark partition) come to."""

    names: tuple[str, ...]
    """(G,) names of the groups, in any order."""
    moments: Moments
    """Of these groups."""
    pairs: Ints
    """(M, 2) distinct pairs of segment and place in `names` that occur."""


def part_parity(names: tuple[str, ...], group: Ints, partition: Partition, choice: Ints) -> PartParity:
    """Sums by group of a part's customers (T,), each a row of his own.

    Args:
        names: (G,) of the groups.
        group: (T,) place of each customer's in `names`.
        partition: their values.
        choice: (T,) offers.
    """
    people = np.arange(len(choice))
    profit, cost = (m[people, choice].astype(np.float64) for m in (partition.profit, partition.cost))
    pairs = np.unique(np.column_stack([partition.segment, group]), axis=0).astype(np.int64)
    return PartParity(names, moments_of(group, len(names), choice > 0, profit, cost), pairs)


def report_of_parts(attribute: str, parts: Sequence[PartParity], *, segment_budgets: bool) -> ParityReport:
    """Compare the groups of customers in parts, merged in the order of the parts.

    Args:
        attribute: its name.
        parts: at least one.
        segment_budgets: whether budgets are set by segment, which then must not follow the attribute.

    Raises:
        ProblemError: more than `MAX_GROUPS` groups, or budgets that follow the attribute.
    """
    names = sorted({name for part in parts for name in part.names})
    check_groups(attribute, len(names))
    number = {name: g for g, name in enumerate(names)}
    whole, pairs = Moments.of_nobody(len(names)), [np.empty((0, 2), dtype=np.int64)]
    for part in parts:
        place = np.array([number[name] for name in part.names], dtype=np.int64)
        whole = whole.merged(part.moments.placed(place, len(names)))
        pairs.append(np.column_stack([part.pairs[:, 0], place[part.pairs[:, 1]]]))
    if segment_budgets:
        refuse_as_segment(attribute, np.unique(np.concatenate(pairs), axis=0))
    return report(attribute, names, whole)


def report(attribute: str, names: Sequence[str], found: Moments) -> ParityReport:
    """Compare the groups (G,), in the order of their names.

    Raises:
        ProblemError: more than `MAX_GROUPS` groups.
    """
    check_groups(attribute, len(names))
    rate = found.sent / np.maximum(found.count, 1)
    reference = int(np.lexsort((-found.count, -rate))[0]) if len(names) else 0
    variance = found.squares / np.maximum(found.count - 1, 1) / np.maximum(found.count, 1)
    columns = [(found.mean[k], variance[k]) for k in range(2)]
    return ParityReport(
        attribute,
        names[reference] if names else "",
        tuple(
            GroupParity(
                group=name,
                customers=int(found.count[g]),
                sent=round(found.sent[g]),
                send_rate=_wilson(rate[g], found.count[g]),
                mean_profit=_mean(*columns[0], g),
                mean_cost=_mean(*columns[1], g),
                send_rate_ratio=_rate_ratio(rate, found.count, g, reference),
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
    check_groups(attribute, len(names))
    return names.tolist(), group.astype(np.int64)


def check_groups(attribute: str, groups: int) -> None:
    """Refuse an attribute with so many values that no group can be compared.

    Raises:
        ProblemError: more than `MAX_GROUPS`.
    """
    if groups > MAX_GROUPS:
        raise ProblemError(f"{attribute} has {groups:,} groups, more than {MAX_GROUPS}; band it (age in decades)")


def _missing(value: Any) -> bool:  # noqa: ANN401 - whatever a table holds
    return value is None or value != value  # noqa: PLR0124 - only a missing number differs from itself


def refuse_as_segment(attribute: str, pairs: Ints) -> None:
    """Refuse budgets whose segments follow the protected attribute.

    Args:
        attribute: its name.
        pairs: (M, 2) distinct pairs of segment and group that occur.

    Raises:
        ProblemError: each segment holds one group only, and there are several groups.
    """
    if len(np.unique(pairs[:, 1])) > 1 and len(pairs) == len(np.unique(pairs[:, 0])):
        raise ProblemError(
            f"each segment with a budget holds one group of {attribute} only, so that the protected attribute decides "
            "who is sent a coupon; set the budgets by segments that do not follow it"
        )


def _wilson(rate: float, n: float) -> Estimate:
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan)
    z2 = Z * Z / n
    middle = (rate + z2 / 2) / (1 + z2)
    half = Z * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n)) / (1 + z2)
    return Estimate(float(rate), max(0.0, float(middle - half)), min(1.0, float(middle + half)))


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
    centre = float(mine / other)
    return Estimate(value, min(value, centre * math.exp(-half)), max(value, centre * math.exp(half)))


def _mean_ratio(mean: Floats, variance: Floats, g: int, reference: int) -> Estimate:
    if mean[reference] == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(mean[g] / mean[reference])
    if g == reference:
        return Estimate(1.0, 1.0, 1.0)
    half = Z * math.sqrt(variance[g] + value**2 * variance[reference]) / abs(mean[reference])
    return Estimate(value, float(value - half), float(value + half))
