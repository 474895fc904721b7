"""The seam of the dual method: customers in partitions on one side, a driver that sees small sums on the other.

The driver moves the multipliers and never meets a customer. All it asks of a partition of customers, wherever it lies
(memory, a chunk of a Parquet file, a Spark partition), are three pure functions:

    evaluate(partition, multipliers) -> Sums     what the partition earns, spends and sends at these multipliers;
                                                 S x (O + 2) numbers, added up over the partitions: value, spend by
                                                 row and the cut for the master are all read off them
    screen(partition, box) -> Screened           the sums of those whose choice no multipliers in the box change, and
                                                 which rows are left; only these need to be asked again
    respond(partition, multipliers) -> choice    the offer of each row, once the multipliers stand

`Rules` and `Multipliers` travel with them; `Rules.bound` turns sums into the certified bound. Sums of partitions are
added in the order of the partitions, so that the result does not depend on who answers first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.coupons.problem import Bools, Floats, Ints

Matrix = npt.NDArray[Any]
Choice = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Multipliers:
    """Prices of the coupling rules, none negative."""

    total: float
    """Of money in the total budget."""
    segment: Floats
    """(S,) of money in each segment, beside the total's."""
    floor: float
    """Paid for each coupon sent."""
    ceiling: float
    """Charged for each coupon sent."""
    offer: Floats
    """(O,) charged for each coupon of an offer; infinite: the offer is closed."""

    @property
    def money(self) -> Floats:
        """(S,) what a unit of money costs in each segment."""
        return self.total + self.segment

    @property
    def toll(self) -> Floats:
        """(O,) what sending each offer costs beside its money; 0 for no coupon."""
        toll = self.offer + (self.ceiling - self.floor)
        toll[0] = 0.0
        return toll

    def scaled(self, money: float, floor: float = 1.0) -> Multipliers:
        """All money prices times `money`, the floor's times `floor`."""
        return replace(self, total=self.total * money, segment=self.segment * money, floor=self.floor * floor)


def no_prices(rules: Rules) -> Multipliers:
    """Multipliers of 0, but for closed offers (cap 0), whose price is infinite."""
    return Multipliers(0.0, np.zeros(len(rules.segment_budget)), 0.0, 0.0, np.where(rules.cap > 0, 0.0, math.inf))


@dataclass(frozen=True)
class Partition:
    """T rows, each standing for `count` identical customers of one segment."""

    profit: Matrix
    """(T, O) float32 or float64; -inf: not offered."""
    cost: Matrix
    """(T, O)."""
    segment: Ints
    """(T,) 0…S-1; all 0 where the problem has no segment budgets."""
    count: npt.NDArray[np.int32]
    """(T,)."""

    def take(self, rows: Any) -> Partition:  # noqa: ANN401 - a slice, a mask or positions
        """Only these rows."""
        parts = (self.profit[rows], self.cost[rows], self.segment[rows], self.count[rows])
        return Partition(*(np.ascontiguousarray(part) for part in parts))


@dataclass(frozen=True)
class Sums:
    """What customers earn, cost and are sent, by segment."""

    profit: Floats
    """(S,) money."""
    cost: Floats
    """(S,) money."""
    sent: Floats
    """(S, O) coupons of each offer; column 0 stays 0."""

    def __add__(self, other: Sums) -> Sums:
        """Sums of both."""
        return Sums(self.profit + other.profit, self.cost + other.cost, self.sent + other.sent)

    def value(self, prices: Multipliers) -> float:
        """Lagrangian value: profit less what money and coupons cost at these prices."""
        tolls = np.where(self.sent > 0, prices.toll, 0.0)  # a closed offer has an infinite toll and is never sent
        return math.fsum([*self.profit, *(-prices.money * self.cost), *(-tolls * self.sent).ravel()])


@dataclass(frozen=True)
class Rules:
    """The coupling rules."""

    budget: float
    """Total, money; infinite: no limit."""
    segment_budget: Floats
    """(S,) money; infinite: no limit."""
    floor: float
    """Least number sent."""
    ceiling: float
    """Greatest number sent; infinite: no limit."""
    cap: Floats
    """(O,) most coupons of each offer; infinite: no limit."""

    def left_by(self, sums: Sums) -> Rules:
        """What is left when these customers have had theirs."""
        sent = sums.sent.sum(axis=0)
        return Rules(
            self.budget - math.fsum(sums.cost),
            self.segment_budget - sums.cost,
            self.floor - float(sent.sum()),
            self.ceiling - float(sent.sum()),
            self.cap - sent,
        )

    def scaled(self, share: float) -> Rules:
        """The rules for a share of the customers."""
        return Rules(
            self.budget * share, self.segment_budget * share, self.floor * share, self.ceiling * share, self.cap * share
        )

    def bound(self, sums: Sums, prices: Multipliers) -> float:
        """No plan brings more: Lagrangian value plus what the rules are worth at these prices (Geoffrion 1974)."""
        worth = [_worth(prices.total, self.budget), _worth(prices.ceiling, self.ceiling), -prices.floor * self.floor]
        worth += [_worth(p, b) for p, b in zip(prices.segment.tolist(), self.segment_budget.tolist(), strict=True)]
        worth += [_worth(p, c) for p, c in zip(prices.offer.tolist(), self.cap.tolist(), strict=True)]
        return math.fsum([sums.value(prices), *worth])


def _worth(price: float, limit: float) -> float:
    """A rule without a limit has no price; a closed offer has an infinite one on nothing."""
    return price * limit if 0 < price < math.inf else 0.0


@dataclass(frozen=True)
class Box:
    """All multipliers within a distance of some centre."""

    centre: Multipliers
    money: Floats
    """(S,) largest change of a segment's price of money."""
    toll: Floats
    """(O,) largest change of an offer's toll."""


@dataclass(frozen=True)
class Screened:
    """What is settled in a box, and the rest."""

    settled: Sums
    """Of the rows with the same choice all over the box."""
    open: Bools
    """(T,) rows whose choice may change."""


Evaluate = Callable[[Multipliers], Sums]
"""All that the driver knows of the customers."""


def evaluate(partition: Partition, prices: Multipliers) -> Sums:
    """What the partition earns, spends and sends when each customer takes the offer with the best score."""
    from optimizers.coupons.kernels import sum_responses

    sums = no_sums(len(prices.segment), partition.profit.shape[1])
    sum_responses(
        *(partition.profit, partition.cost, partition.segment, partition.count),
        *(prices.money, prices.toll, sums.profit, sums.cost, sums.sent),
    )
    return sums


def respond(partition: Partition, prices: Multipliers) -> Choice:
    """(T,) the offer with the best score; no coupon, then the lowest number, wins ties."""
    from optimizers.coupons.kernels import best_responses

    choice = np.empty(len(partition.profit), dtype=np.uint16)
    best_responses(partition.profit, partition.cost, partition.segment, prices.money, prices.toll, choice)
    return choice


def screen(partition: Partition, box: Box) -> Screened:
    """Settle the rows whose best offer leads by more than any multipliers in the box can take away."""
    from optimizers.coupons.kernels import screen_rows

    sums = no_sums(len(box.money), partition.profit.shape[1])
    still_open = np.empty(len(partition.profit), dtype=np.bool_)
    screen_rows(
        *(partition.profit, partition.cost, partition.segment, partition.count, box.centre.money, box.centre.toll),
        *(box.money, np.where(np.isfinite(box.toll), box.toll, 0.0), still_open, sums.profit, sums.cost, sums.sent),
    )
    return Screened(sums, still_open)


def no_sums(segments: int, offers: int) -> Sums:
    """Sums of nobody."""
    return Sums(np.zeros(segments), np.zeros(segments), np.zeros((segments, offers)))
