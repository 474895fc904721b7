"""A plan for customers in partitions: what was decided without them, and what it gives those of one partition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizers.coupons.explore import Exploration
from optimizers.coupons.problem import Floats, Ints
from optimizers.coupons.questions import Placement, offers_of
from optimizers.coupons.slices import Slice, draw_slice
from optimizers.coupons.sums import Multipliers, Partition, Sums


@dataclass(frozen=True)
class PartitionedPlan:
    """What was decided, without the customers; `decided` gives each partition's."""

    placement: Placement
    multipliers: Multipliers
    sums: Sums
    """Of the whole plan."""
    customers: int
    bound: float
    gap: float
    status: str
    """"optimal" (within the gap), "gap_limit", "time_limit" or "cancelled"."""
    passes: int
    """Questions asked of all partitions."""
    kept: int
    """Customers who were kept after screening."""
    slice: Slice | None = None
    """How the explored customers were drawn; None: nobody is explored."""

    @property
    def objective(self) -> float:
        """Expected incremental profit, money."""
        return math.fsum(self.sums.profit)

    @property
    def spend(self) -> float:
        """Expected cost, money."""
        return math.fsum(self.sums.cost)

    @property
    def shadow_price(self) -> float:
        """Profit that one more unit of money in the total budget would bring."""
        return self.multipliers.total

    @property
    def segment_shadow_price(self) -> Floats:
        """(S,) the same for each segment's budget, beside the total's."""
        return self.multipliers.segment

    @property
    def offer_shadow_price(self) -> Floats:
        """(O,) profit that one more coupon of each cap would bring; infinite where the cap is 0."""
        return self.multipliers.offer

    @property
    def sent(self) -> int:
        """Number of customers who are sent a coupon."""
        return round(float(self.sums.sent.sum()))


@dataclass(frozen=True)
class Decided:
    """What a plan gives the T customers of one partition."""

    choice: Ints
    """(T,) offers; 0 is no coupon."""
    explored: Exploration | None
    """Who of them was drawn at random; None: nobody is explored."""

    @property
    def listed(self) -> Ints:
        """Customers who are sent a coupon or explored."""
        logged = self.choice > 0
        found: Ints = np.flatnonzero(logged if self.explored is None else logged | self.explored.explored)
        return found


def decided(number: int, partition: Partition, plan: PartitionedPlan) -> Decided:
    """The offers of a partition under a plan, with what was drawn at random."""
    if plan.slice is None:
        return Decided(offers_of(number, partition, plan.placement).astype(np.int64), None)
    drawn = draw_slice(number, partition, plan.slice)
    choice = drawn.choice.copy()
    rest = partition.take(~drawn.explored)
    choice[~drawn.explored] = offers_of(number, rest, plan.placement)
    return Decided(choice, drawn)
