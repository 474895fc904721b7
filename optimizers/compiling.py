"""Compile the kernels once, so that nobody waits for it later: numba keeps the machine code on disk.

    python -m optimizers.compiling

Ends early when its standard input is closed: with the process that started it, however that ends.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimizers.compiled import source_stamp
from optimizers.coupons import CouponProblem, allocate_coupons
from optimizers.prices import PriceProblem, solve_prices
from optimizers.prices.kernels import measure_columns
from optimizers.prices.moves import improve_groups, single_moves
from optimizers.prices.proof import begin, explore, verdict

LONGEST: Sequence[Any] = (begin, explore, verdict, measure_columns, improve_groups, single_moves)
"""Kernels that Python calls and that take nearly all of the time; the rest is part of them, or small."""


def kernels_compiled() -> bool:
    """Tell whether the disk holds the machine code of all kernels that take long, made from the source as it is."""
    return all(_kept(kernel) for kernel in LONGEST)


def _kept(kernel: Any) -> bool:  # noqa: ANN401 - a numba dispatcher
    if not hasattr(kernel, "stats"):
        return True  # NUMBA_DISABLE_JIT: there is nothing to compile
    source, name = Path(kernel.py_func.__code__.co_filename), kernel.py_func.__name__
    if kernel.stats.cache_path is None:
        return True  # no folder could keep it: compiling in another process would be for nothing
    stamp = source_stamp(source).encode()
    indexes = Path(kernel.stats.cache_path).glob(f"{source.stem}.{name}-*.nbi")
    return any(stamp in index.read_bytes() for index in indexes)


def compile_kernels() -> None:
    """Solve a little price problem and a little coupon problem, by the roads that a whole cycle takes."""
    solve_prices(_little_prices(), seconds=1.0)
    allocate_coupons(_little_coupons(), "dual")


def _little_prices() -> PriceProblem:
    return PriceProblem(
        product_ids=("a", "b"),
        current_price=np.array([2.0, 3.0]),
        unit_cost=np.array([1.2, 2.0]),
        base_units=np.array([100.0, 80.0]),
        own=np.array([[-2.0, -1.5]]),
        cross=np.array([[0.3, 0.3]]),
        base_scale=np.ones((1, 2)),
        family=np.zeros(2, dtype=np.int64),
        movable=np.ones(2, dtype=np.bool_),
        max_change=0.10,
        step=0.05,
        index_band=0.002,
        min_margin=None,
        max_changed=None,
        endings=None,
    )


def _little_coupons() -> CouponProblem:
    rng = np.random.default_rng(1)
    profit, cost = rng.uniform(-1, 2, (40, 3)), rng.uniform(0.5, 1, (40, 3))
    profit[:, 0], cost[:, 0] = 0.0, 0.0
    return CouponProblem(profit=profit.astype(np.float32), cost=cost.astype(np.float32), budget=5.0)


def _end_with_the_caller() -> None:
    """Wait until standard input is closed, then end at once."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    compile_kernels()
    os._exit(0)  # at once: the thread that waits still holds standard input
