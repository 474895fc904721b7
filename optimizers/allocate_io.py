"""Coupon allocation from a table of values to a table of coupons (contract: coupon_values)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError, ProblemError
from engine.files import atomic_file
from optimizers.check_coupons import check_coupons
from optimizers.coupon_problem import CouponProblem, Floats, Ints
from optimizers.coupons import CouponPlan, allocate_coupons

REQUIRED = ("customer_id", "offer_id", "profit", "cost")


@dataclass(frozen=True)
class Values:
    """The table in dense form: N customers, O offers of which offer 0 is none."""

    customer_ids: npt.NDArray[np.object_]
    offer_ids: npt.NDArray[np.object_]
    profit: npt.NDArray[np.float32]
    cost: npt.NDArray[np.float32]
    offered: npt.NDArray[np.bool_] | None
    segment: Ints | None
    segment_names: tuple[str, ...]


def allocate_file(
    path: Path | str,
    *,
    budget: float | None = None,
    segment_budgets: Mapping[str, float] | None = None,
    min_sent: int | None = None,
    out: Path | str | None = None,
    gap: float = 1e-4,
    method: str = "auto",
) -> dict[str, Any]:
    """Allocate the offers of a Parquet (or CSV) table in long form.

    Args:
        path: columns customer_id, offer_id, profit (incremental, net, money), cost (money), segment (optional). A
            customer without a row for an offer is not offered it; every customer may be left without a coupon.
        budget: total cost allowed; None: no limit.
        segment_budgets: cost allowed by segment name; segments not named have no limit of their own.
        min_sent: least number of customers sent a coupon.
        out: table of the coupons sent (customer_id, offer_id, profit, cost), Parquet or CSV by its ending, written
            whole or not at all; None: none.
        gap: relative gap at which the search may stop.
        method: "auto", "exact" or "dual".

    Returns:
        What the plan is worth, ready for JSON: customers, offers, sent, objective, bound, gap, spend, shadow_price,
        segment_shadow_price by name, status, method, seconds, out.

    Raises:
        DataError: the table cannot be used (every fault at once); ProblemError; InfeasibleError; StorageError.
    """
    values = read_values(Path(path))
    problem = CouponProblem(
        profit=values.profit,
        cost=values.cost,
        budget=budget,
        segment=values.segment,
        segment_budget=_segment_budget(values, segment_budgets or {}),
        min_sent=min_sent,
        offered=values.offered,
    )
    plan = allocate_coupons(problem, method=method, gap=gap)
    check_coupons(problem, plan)
    if out is not None:
        write_plan(Path(out), values, plan)
    return _summary(values, problem, plan, out)


def read_values(path: Path) -> Values:
    """Read the long table into matrices.

    Raises:
        DataError: missing file or column, unreadable file, empty identifier, number that is none, negative cost,
            duplicate key, customer in two segments.
    """
    table = _read_table(path)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; a table of values has {', '.join(REQUIRED)}")
    if not table.num_rows:
        raise DataError(f"{path}: the table has no rows; give one for each customer and offer")
    customer, customer_ids = _codes(table, "customer_id")
    offer, offer_ids = _codes(table, "offer_id")
    profit, cost = _numbers(table, "profit"), _numbers(table, "cost")
    faults = [
        *_empty_keys("customer_id", customer),
        *_empty_keys("offer_id", offer),
        *_bad("profit", profit, ~np.isfinite(profit), "is not a finite number; give money"),
        *_bad("cost", cost, ~np.isfinite(cost), "is not a finite number; give money"),
        *_bad("cost", cost, cost < 0, "is negative; a coupon never costs less than 0"),
        *_duplicates(customer, offer, len(offer_ids)),
    ]
    segment, names, found = _segments(table, customer, len(customer_ids))
    faults += found
    if faults:
        raise DataError(f"{path}: " + "\n  ".join(faults))
    return _dense(customer, offer, customer_ids, offer_ids, profit, cost, segment, names)


def write_plan(path: Path, values: Values, plan: CouponPlan) -> None:
    """Write the coupons sent, one row each, in the order of the customers.

    Raises:
        StorageError: the disk did not take it; what stood at `path` is intact.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    sent = np.flatnonzero(plan.choice)
    picked = plan.choice[sent]
    table = pa.table(
        {
            "customer_id": pa.array(values.customer_ids[sent], pa.string()),
            "offer_id": pa.array(values.offer_ids[picked], pa.string()),
            "profit": values.profit[sent, picked].astype(np.float64),
            "cost": values.cost[sent, picked].astype(np.float64),
        }
    )
    with atomic_file(path) as temporary:
        if path.suffix.lower() == ".csv":
            csv.write_csv(table, temporary)
        else:
            parquet.write_table(table, temporary)


def _read_table(path: Path) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise DataError(f"{path}: no such file; give a Parquet or CSV table of values")
    try:
        if path.suffix.lower() == ".csv":
            as_text = csv.ConvertOptions(
                column_types={name: pa.string() for name in ("customer_id", "offer_id", "segment")}
            )
            return csv.read_csv(path, convert_options=as_text)
        wanted = [*REQUIRED, "segment"]
        names = parquet.read_schema(path).names
        return parquet.read_table(path, columns=[name for name in wanted if name in names])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); give Parquet or CSV") from error


def _codes(table: Any, name: str) -> tuple[Ints, npt.NDArray[np.object_]]:  # noqa: ANN401
    """Number of each row's identifier (-1: missing or empty), and the identifiers in order of first appearance."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.cast(table.column(name), pa.string())
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    coded = column.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, np.array(coded.dictionary.to_pylist(), dtype=object)


def _numbers(table: Any, name: str) -> Floats:  # noqa: ANN401
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = pc.cast(table.column(name), pa.float64())
    except pa.ArrowException as error:
        raise DataError(f"column {name} holds no numbers ({str(error).splitlines()[0]}); give money") from error
    return np.asarray(pc.fill_null(values, math.nan).to_numpy(), dtype=np.float64)


def _empty_keys(name: str, codes: Ints) -> list[str]:
    empty = np.flatnonzero(codes < 0)
    if not len(empty):
        return []
    return [f"column {name}, row {empty[0] + 1}: empty ({len(empty):,} rows); give an identifier"]


def _bad(name: str, values: Floats, wrong: npt.NDArray[np.bool_], what: str) -> list[str]:
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    return [f"column {name}, row {rows[0] + 1}: {values[rows[0]]!r} {what} ({len(rows):,} rows)"]


def _duplicates(customer: Ints, offer: Ints, n_offers: int) -> list[str]:
    key = customer * n_offers + offer
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if not len(twice):
        return []
    row = int(order[twice + 1].min())
    return [
        f"columns customer_id, offer_id, row {row + 1}: the pair stood before ({len(twice):,} rows); keep one of each"
    ]


def _segments(table: Any, customer: Ints, n: int) -> tuple[Ints | None, tuple[str, ...], list[str]]:  # noqa: ANN401
    if "segment" not in table.column_names:
        return None, (), []
    codes, names = _codes(table, "segment")
    by_customer = np.full(n, -1, dtype=np.int64)
    known = customer >= 0
    by_customer[customer[known][::-1]] = codes[known][::-1]
    differ = np.flatnonzero(known & (by_customer[customer] != codes))
    faults = []
    if len(differ):
        faults.append(
            f"column segment, row {differ[0] + 1}: the customer stood in another segment before "
            f"({len(differ):,} rows); a customer belongs to one"
        )
    if (by_customer < 0).any():  # customers without a segment share one that has no name
        by_customer = np.where(by_customer < 0, len(names), by_customer)
        names = np.append(names, "")
    return by_customer, tuple(str(name) for name in names), faults


def _dense(
    customer: Ints,
    offer: Ints,
    customer_ids: npt.NDArray[np.object_],
    offer_ids: npt.NDArray[np.object_],
    profit: Floats,
    cost: Floats,
    segment: Ints | None,
    names: tuple[str, ...],
) -> Values:
    shape = (len(customer_ids), len(offer_ids) + 1)
    dense_profit, dense_cost = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    dense_profit[customer, offer + 1] = profit
    dense_cost[customer, offer + 1] = cost
    offered = None
    if len(customer) < shape[0] * (shape[1] - 1):
        offered = np.zeros(shape, dtype=np.bool_)
        offered[:, 0] = True
        offered[customer, offer + 1] = True
    ids = np.array(["", *offer_ids], dtype=object)
    return Values(customer_ids, ids, dense_profit, dense_cost, offered, segment, names)


def _segment_budget(values: Values, budgets: Mapping[str, float]) -> Floats | None:
    if not budgets:
        return None
    if values.segment is None:
        raise ProblemError("segment budgets are given, but the table has no column segment; add it or leave them out")
    unknown = [name for name in budgets if name not in values.segment_names]
    if unknown:
        known = ", ".join(sorted(values.segment_names)[:20])
        raise ProblemError(f"segment '{unknown[0]}' is not in the table; it has: {known}")
    return np.array([budgets.get(name, math.inf) for name in values.segment_names], dtype=np.float64)


def _summary(values: Values, problem: CouponProblem, plan: CouponPlan, out: Path | str | None) -> dict[str, Any]:
    by_segment = plan.segment_shadow_price
    return {
        "customers": problem.n_customers,
        "offers": problem.n_offers - 1,
        "sent": plan.sent,
        "objective": plan.objective,
        "bound": plan.bound,
        "gap": plan.gap,
        "budget": problem.budget,
        "spend": plan.spend,
        "shadow_price": plan.shadow_price,
        "segment_shadow_price": {}
        if by_segment is None
        else {name: float(price) for name, price in zip(values.segment_names, by_segment, strict=True)},
        "status": plan.status,
        "method": plan.method,
        "seconds": plan.seconds,
        "out": None if out is None else str(out),
    }
