"""Coupon allocation from a table of any size: memory does not grow with the number of customers.

The long table becomes chunks on disk (`optimizers.coupons.staging`), which the search maps into memory one at a time
(`optimizers.coupons.partitions`). Everything lies in a work folder, which is removed at the end, also when something
fails; the result itself appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.files import atomic_file
from optimizers.coupons import check_partitions as check
from optimizers.coupons.allocate import check_stopping
from optimizers.coupons.by_name import Limits
from optimizers.coupons.parity import PartParity, check_groups, part_parity, report_of_parts
from optimizers.coupons.partitioned_plan import Decided, PartitionedPlan, decided
from optimizers.coupons.partitions import allocate_partitions
from optimizers.coupons.problem import Bools, Ints
from optimizers.coupons.questions import Chunks
from optimizers.coupons.rows import make_rules
from optimizers.coupons.staging import Chunk, Staged, stage
from optimizers.coupons.summary import summarise
from optimizers.coupons.sums import Rules
from optimizers.coupons.watch import Standing, Watch

WORK = ".allocate-"
"""How the names of work folders begin."""


def allocate_large_file(
    path: Path,
    *,
    budget: float | None = None,
    segment_budgets: Mapping[str, float] | None = None,
    min_sent: int | None = None,
    max_sent: int | None = None,
    offer_caps: Mapping[str, int] | None = None,
    contact_limit: int | None = None,
    exclusive: Sequence[Sequence[str]] = (),
    explore: float = 0.0,
    out: Path | None = None,
    gap: float = 1e-4,
    parity: str | None = None,
    seed: int = 0,
    seconds: float = math.inf,
    progress: Callable[[Standing], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    work: Path | None = None,
) -> dict[str, Any]:
    """Allocate the offers of a Parquet table in long form, of any size.

    Args and result as `optimizers.coupons.allocate_file.allocate_file`, the method being "dual"; customers are written
    chunk by chunk. `work` is the folder under which the chunks lie meanwhile (None: that of the result), about 9 bytes
    a row of the table. `seconds` limits the search, not the reading. The random slice of `explore` is not the one that
    the same seed draws in memory.

    Raises:
        DataError: the table cannot be used: file, column and row of every fault (up to 20).
        InfeasibleError, ProblemError, StorageError: as there.
    """
    began = time.perf_counter()
    limits = Limits(
        *(budget, segment_budgets or {}, min_sent, max_sent, offer_caps or {}, contact_limit),
        exclusive=exclusive,
        explore=explore,
        parity=parity,
    )
    limits.check()
    check_stopping(gap, seconds)
    with _work_folder(work or (out or path).parent) as folder:
        staged = stage(path, folder, limits)
        check_groups(parity or "", len(staged.groups))
        rules = make_rules(limits.of_nobody(staged.offers, None if staged.segments == ("",) else staged.segments))
        watch = Watch(seconds, cancelled, progress)
        plan = allocate_partitions(Chunks(staged.chunks), rules, gap=gap, watch=watch, explore=explore, seed=seed)
        if out is None:
            seen = [_seen(chunk, _decide(number, chunk, plan), staged, plan) for number, chunk in _numbered(staged)]
            _check(seen, rules, plan)
        else:
            with atomic_file(out) as temporary:
                seen = list(_write(temporary, out.suffix, staged, plan))
                _check(seen, rules, plan)
    return summarise(
        *(plan, limits),
        customers=staged.customers,
        offers=staged.offers,
        segments=staged.segments,
        method="dual",
        seconds=time.perf_counter() - began,
        out=out,
        explored=None if plan.slice is None else sum(one.drawn.customers for one in seen if one.drawn is not None),
        parity=None
        if parity is None
        else report_of_parts(
            parity,
            [one.parity for one in seen if one.parity is not None],
            segment_budgets=bool(limits.segment_budgets),
        ),
    )


def _numbered(staged: Staged) -> Iterator[tuple[int, Chunk]]:
    return enumerate(staged.chunks)


def _decide(number: int, chunk: Chunk, plan: PartitionedPlan) -> Decided:
    return decided(number, chunk(), plan)


def _write(path: Path, ending: str, staged: Staged, plan: PartitionedPlan) -> Iterator[_Seen]:
    """Write the coupons sent (and what was explored), one row each, chunk by chunk; yields a second look at each."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    columns = [
        ("customer_id", pa.string()),
        ("offer_id", pa.string()),
        ("profit", pa.float64()),
        ("cost", pa.float64()),
    ]
    logged = [("explored", pa.int8()), ("propensity", pa.float64())]
    schema = pa.schema(columns if plan.slice is None else columns + logged)
    make = csv.CSVWriter if ending.lower() == ".csv" else parquet.ParquetWriter
    offers = pa.array(staged.offers, pa.string())
    with make(path, schema) as writer:
        for number, chunk in _numbered(staged):
            found = _decide(number, chunk, plan)
            who = found.listed
            picked = found.choice[who]
            names = chunk.customers().take(pa.array(who))
            values = [chunk.part(name)[who, picked].astype(np.float64) for name in ("profit", "cost")]
            if found.explored is not None:
                values += [found.explored.explored[who].astype(np.int8), found.explored.propensity[who]]
            writer.write_table(pa.table([names, offers.take(pa.array(picked)), *values], schema=schema))
            yield _seen(chunk, found, staged, plan)


# --- a second look at what was decided


@dataclass(frozen=True)
class _Seen:
    """What the customers of one chunk came to, taken again from their values."""

    decided_on: check.Tally
    drawn: check.Tally | None
    parity: PartParity | None
    """By protected group; None: no report was asked for."""


def _seen(chunk: Chunk, found: Decided, staged: Staged, plan: PartitionedPlan) -> _Seen:
    drawn = None
    if found.explored is None:
        rest = _tally(chunk, found.choice, slice(None), plan)
    else:
        rest = _tally(chunk, found.choice, ~found.explored.explored, plan)
        drawn = _tally(chunk, found.choice, found.explored.explored, plan)
    if not staged.groups:
        return _Seen(rest, drawn, None)
    group = np.asarray(chunk.part("group"), dtype=np.int64)
    return _Seen(rest, drawn, part_parity(staged.groups, group, chunk(), found.choice))


def _tally(chunk: Chunk, choice: Ints, rows: Bools | slice, plan: PartitionedPlan) -> check.Tally:
    profit, cost, segment = (chunk.part(name)[rows] for name in ("profit", "cost", "segment"))
    return check.tally(profit, cost, segment, choice[rows], _prices(plan))


def _prices(plan: PartitionedPlan) -> check.Prices:
    m = plan.multipliers
    return check.Prices(m.total, m.segment, m.floor, m.ceiling, m.offer)


def _check(seen: Sequence[_Seen], rules: Rules, plan: PartitionedPlan) -> None:
    check.check_partitions(
        [found.decided_on for found in seen],
        check.Limits(rules.budget, rules.segment_budget, rules.floor, rules.ceiling, rules.cap),
        _prices(plan),
        objective=plan.objective,
        bound=plan.bound,
        drawn=[found.drawn for found in seen if found.drawn is not None],
    )


@contextmanager
def _work_folder(under: Path) -> Iterator[Path]:
    """A folder for the chunks: removed at the end, whatever happens; after a kill, by the next run.

    Who works in a folder holds a lock on it, which the system lets go of when the process ends, however it ends.
    """
    under.mkdir(parents=True, exist_ok=True)
    for left in under.glob(f"{WORK}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=WORK, dir=under))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises:
        OSError: another process holds it, or the folder is gone.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
