"""The random slice of customers in partitions: what `optimizers.coupons.explore` draws, without holding the customers.

Partitions draw beside each other, so that none can know what the others have used. Each is therefore given a quota of
every limit, in proportion to what its slice is expected to use of it, and leaves out what no longer fits into that. A
draw depends on the seed, the number of the partition and its customers, and comes out the same however often it is
asked for: nothing has to be kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from optimizers.coupons.explore import (
    ROUNDING,
    Exploration,
    Use,
    draw_offers,
    draw_people,
    even_chances,
    expected_use,
    scales,
)
from optimizers.coupons.problem import Bools, Floats, Ints
from optimizers.coupons.questions import Partitions, added
from optimizers.coupons.sums import Partition, Rules, Sums, no_sums


@dataclass(frozen=True)
class Slice:
    """How the slice of each partition is drawn; its rows are one customer each."""

    share: float
    """Of the customers, in (0, 1]."""
    seed: int
    closed: Bools
    """(O,) offers whose cap leaves nothing to send."""
    scale: Floats
    """(S, O) factors of the even chances."""
    money: Floats
    """(P, S + 1) money that each partition's slice may spend by segment, then in total."""
    coupons: Floats
    """(P, O + 1) coupons that it may send of each offer, then in all."""


@dataclass(frozen=True)
class _Draft:
    """Who is explored, before what they are sent."""

    share: float
    seed: int
    closed: Bools
    segments: int


def plan_slice(partitions: Partitions, rules: Rules, share: float, seed: int) -> Slice:
    """Set chances and quotas so that the slice is expected to take no more than its share of any limit."""
    draft = _Draft(share, seed, rules.cap < 1, len(rules.segment_budget))
    uses = partitions.map(_use, draft)
    whole = Use(np.sum([use.coupons for use in uses], axis=0), np.sum([use.money for use in uses], axis=0))
    scale = scales(whole, rules.scaled(share))
    spent = np.array([(scale * use.money).sum(axis=1) for use in uses])
    sent = np.array([(scale * use.coupons).sum(axis=0) for use in uses])
    money = np.append(rules.segment_budget, rules.budget) * (1 - ROUNDING)
    coupons = np.append(rules.cap, rules.ceiling)
    return Slice(
        *(share, seed, draft.closed, scale),
        money=_quotas(money, np.column_stack([spent, spent.sum(axis=1)])),
        coupons=_whole(coupons, _quotas(coupons, np.column_stack([sent, sent.sum(axis=1)]))),
    )


def draw_slice(number: int, partition: Partition, plan: Slice) -> Exploration:
    """Draw the slice of a partition: the same each time."""
    people, rng = _people(number, partition, plan.share, plan.seed)
    segment, cost = _of(partition, people)
    chance = even_chances(_can_be_sent(partition, people, plan.closed)) * plan.scale[segment]
    limits = plan.money[number], plan.coupons[number]
    return draw_offers(len(partition.count), people, chance, cost, segment, limits, rng)


def without_slice(number: int, partition: Partition, plan: Slice) -> Partition:
    """The customers of a partition who are not explored."""
    people, _ = _people(number, partition, plan.share, plan.seed)
    rest = np.ones(len(partition.count), dtype=np.bool_)
    rest[people] = False
    return partition.take(rest)


def used_by_slice(partitions: Partitions, plan: Slice) -> Sums:
    """What the drawn offers earn, cost and send."""
    return added(partitions.map(_sums, plan), *plan.scale.shape)


def _sums(number: int, partition: Partition, plan: Slice) -> Sums:
    drawn, sums = draw_slice(number, partition, plan), no_sums(*plan.scale.shape)
    people = np.flatnonzero(drawn.choice)
    choice, segment = drawn.choice[people], np.asarray(partition.segment[people])
    np.add.at(sums.profit, segment, partition.profit[people, choice].astype(np.float64))
    np.add.at(sums.cost, segment, partition.cost[people, choice].astype(np.float64))
    np.add.at(sums.sent, (segment, choice), 1)
    return sums


def _use(number: int, partition: Partition, draft: _Draft) -> Use:
    people, _ = _people(number, partition, draft.share, draft.seed)
    segment, cost = _of(partition, people)
    return expected_use(_can_be_sent(partition, people, draft.closed), cost, segment, draft.segments)


def _people(number: int, partition: Partition, share: float, seed: int) -> tuple[Ints, np.random.Generator]:
    rng = np.random.default_rng([seed, number])
    return draw_people(len(partition.count), share, rng), rng


def _of(partition: Partition, people: Ints) -> tuple[Ints, Floats]:
    return partition.segment[people].astype(np.int64), partition.cost[people].astype(np.float64)


def _can_be_sent(partition: Partition, people: Ints, closed: Bools) -> Bools:
    can: Bools = np.isfinite(partition.profit[people]) & ~closed
    can[:, 0] = False
    return can


def _quotas(limits: Floats, expected: Floats) -> Floats:
    """(P, L) each limit in proportion to what the partitions are expected to use; what nobody uses, evenly."""
    total, parts = expected.sum(axis=0), len(expected)
    share = np.divide(expected, total, out=np.full(expected.shape, 1 / max(parts, 1)), where=total > 0)
    finite = np.where(np.isfinite(limits), limits, 0.0)
    return np.where(np.isfinite(limits), share * finite, np.inf)


def _whole(limits: Floats, quotas: Floats) -> Floats:
    """The same in whole coupons: what rounding down leaves goes where most was cut off, first partitions first."""
    found = np.floor(quotas)
    for place in np.flatnonzero(np.isfinite(limits)):
        left = math.floor(limits[place] - found[:, place].sum())
        order = np.argsort(found[:, place] - quotas[:, place], kind="stable")
        found[order[: max(left, 0)], place] += 1
    return found
