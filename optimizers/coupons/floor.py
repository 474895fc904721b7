"""Whether a floor on the number sent can be reached by customers in partitions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from engine.errors import InfeasibleError
from engine.proposal import Reason
from optimizers.coupons import dual as coupon_dual
from optimizers.coupons.limits import OUT_OF_REACH
from optimizers.coupons.questions import Partitions, added
from optimizers.coupons.rows import Rows
from optimizers.coupons.sums import Multipliers, Partition, Rules, Sums, evaluate, no_prices
from optimizers.coupons.watch import Watch


def check_floor(partitions: Partitions, rules: Rules, sample: Rows, watch: Watch) -> None:
    """Refuse a floor that no plan reaches: the search with a coupon's profit counted as 1 bounds the number sent.

    Args:
        partitions: the customers.
        rules: of which the floor is held against the others.
        sample: some of the customers, on whom the multipliers are found first.
        watch: time limit, cancelling.

    Raises:
        InfeasibleError: with the most that is possible, as certified.
    """
    free = replace(rules, floor=0.0)
    sample = replace(sample, partition=_counted(sample.partition), rules=replace(sample.rules, floor=0.0))
    centre = coupon_dual.minimise_rows(sample, [no_prices(free)], watch, tolerance=1e-6).multipliers

    def ask(prices: Multipliers) -> Sums:
        return added(partitions.map(_counted_sums, prices), len(rules.segment_budget), len(rules.cap))

    found = coupon_dual.minimise(ask, free, coupon_dual.nearby(centre), watch, penalty=coupon_dual.PENALTY)
    most = math.floor(found.bound * (1 + 1e-9) + 1e-6)
    if most < rules.floor:
        values = {"floor": math.ceil(rules.floor), "most": most, "share": 100 * most / rules.floor}
        raise InfeasibleError(Reason(OUT_OF_REACH, values))


def _counted_sums(_number: int, partition: Partition, prices: Multipliers) -> Sums:
    return evaluate(_counted(partition), prices)


def _counted(partition: Partition) -> Partition:
    worth = np.where(np.isfinite(partition.profit), 1.0, -np.inf).astype(np.float32)
    worth[:, 0] = 0.0
    return replace(partition, profit=worth)
