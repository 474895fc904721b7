"""One thread for BLAS: sums in matrix products are then added in one order, whatever the machine.

With more, the last digits of a product depend on the number of processors, and what cuts off small singular values can
turn on them. Matrices here are small, and threads that wait for each other cost more than they save: where anything
else runs on the machine, ten times as much.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "OPENBLAS_NUM_THREADS"


def ask_for_one_thread() -> None:
    """Let BLAS libraries that are loaded from now on, here and in processes started from here, use one thread.

    Whoever set the variable himself keeps what he set.
    """
    os.environ.setdefault(VARIABLE, "1")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Use one thread for matrix products, also by libraries that are loaded already."""
    import scipy.linalg  # noqa: F401 - its library, beside that of NumPy, can be limited once it is there
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, user_api="blas"):
        yield
