"""Coupon allocation from a table of values to a table of coupons (contract: coupon_values)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.files import atomic_file
from optimizers.coupons.allocate import allocate_coupons
from optimizers.coupons.by_name import Limits
from optimizers.coupons.check import check_coupons
from optimizers.coupons.parity import parity_report
from optimizers.coupons.plan import CouponPlan
from optimizers.coupons.problem import CouponProblem
from optimizers.coupons.summary import summarise
from optimizers.coupons.table import Values, read_values
from optimizers.coupons.watch import Standing


def allocate_file(
    path: Path | str,
    *,
    budget: float | None = None,
    segment_budgets: Mapping[str, float] | None = None,
    min_sent: int | None = None,
    max_sent: int | None = None,
    offer_caps: Mapping[str, int] | None = None,
    contact_limit: int | None = None,
    exclusive: Sequence[Sequence[str]] = (),
    explore: float = 0.0,
    out: Path | str | None = None,
    gap: float = 1e-4,
    method: str = "auto",
    parity: str | None = None,
    seed: int = 0,
    seconds: float = 300.0,
    progress: Callable[[Standing], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Allocate the offers of a Parquet (or CSV) table in long form.

    Args:
        path: columns customer_id, offer_id, profit (incremental, net, money), cost (money), segment (optional),
            contacts (where there is a contact limit), held (0 or 1, where offers exclude each other). A customer
            without a row for an offer is not offered it; every customer may be left without a coupon.
        budget: money in total; None: no limit, as for all that follow.
        segment_budgets: money by segment name.
        min_sent: least number of customers sent a coupon.
        max_sent: greatest number.
        offer_caps: most customers by offer_id.
        contact_limit: most contacts of a customer in the period, what stands in the column `contacts` included.
        exclusive: groups of offer_ids; who holds one of a group (column `held`) is sent none of it.
        explore: share of the customers whose offer is drawn at random.
        out: table of the coupons sent (customer_id, offer_id, profit, cost), Parquet or CSV by its ending, written
            whole or not at all; None: none. With exploration also explored and propensity, and a line with an empty
            offer_id for each explored customer who was drawn no coupon.
        gap: relative gap at which the search may stop.
        method: "auto", "exact" or "dual".
        parity: column with a protected attribute; it is read for the parity report and decides nothing.
        seed: of the exploration.
        seconds: time limit, reading excluded.
        progress: is told where the search stands.
        cancelled: asked between steps; True stops the search with the plan in hand.

    Returns:
        What the plan is worth, ready for JSON: customers, offers, sent, objective, bound, gap, spend, shadow_price,
        segment_shadow_price by name, status, method, seconds, out; and, where asked for, offer_shadow_price by
        name, explored (customers) and parity (by group).

    Raises:
        DataError: the table cannot be used (every fault at once); ProblemError; InfeasibleError; StorageError.
    """
    limits = Limits(
        *(budget, segment_budgets or {}, min_sent, max_sent, offer_caps or {}, contact_limit),
        exclusive=exclusive,
        explore=explore,
        parity=parity,
    )
    values = read_values(Path(path), limits.asked)
    problem = make_problem(values, limits)
    plan = allocate_coupons(
        problem, method=method, gap=gap, seed=seed, seconds=seconds, progress=progress, cancelled=cancelled
    )
    check_coupons(problem, plan)
    report = None
    if parity is not None and values.protected is not None:
        report = parity_report(problem, plan, parity, values.protected)
    if out is not None:
        write_plan(Path(out), values, plan)
    return summarise(
        *(plan, limits),
        customers=problem.n_customers,
        offers=values.offer_ids.tolist(),
        segments=values.segment_names,
        method=plan.method,
        seconds=plan.seconds,
        out=out,
        explored=None if plan.explored is None else int(np.count_nonzero(plan.explored)),
        parity=report,
    )


def make_problem(values: Values, limits: Limits) -> CouponProblem:
    """Put the limits, which go by name, beside the matrices.

    Raises:
        ProblemError: a limit names a segment or an offer that the table does not hold.
    """
    return CouponProblem(
        profit=values.profit,
        cost=values.cost,
        budget=limits.budget,
        segment=values.segment,
        segment_budget=limits.segment_budget(None if values.segment is None else values.segment_names),
        min_sent=limits.min_sent,
        offered=values.offered,
        max_sent=limits.max_sent,
        offer_cap=limits.offer_cap(values.offer_ids.tolist()),
        contacts=values.contacts,
        contact_limit=limits.contact_limit,
        exclusive=limits.groups(values.offer_ids.tolist()),
        held=values.held,
        explore=limits.explore,
    )


def write_plan(path: Path, values: Values, plan: CouponPlan) -> None:
    """Write the coupons sent (and what was explored), one row each, in the order of the customers.

    Raises:
        StorageError: the disk did not take it; what stood at `path` is intact.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    logged = plan.choice > 0
    if plan.explored is not None:
        logged = logged | plan.explored
    listed = np.flatnonzero(logged)
    picked = plan.choice[listed]
    columns = {
        "customer_id": pa.array(values.customer_ids[listed], pa.string()),
        "offer_id": pa.array(values.offer_ids[picked], pa.string()),
        "profit": values.profit[listed, picked].astype(np.float64),
        "cost": values.cost[listed, picked].astype(np.float64),
    }
    if plan.explored is not None and plan.propensity is not None:
        columns |= {"explored": plan.explored[listed].astype(np.int8), "propensity": plan.propensity[listed]}
    table = pa.table(columns)
    with atomic_file(path) as temporary:
        if path.suffix.lower() == ".csv":
            csv.write_csv(table, temporary)
        else:
            parquet.write_table(table, temporary)
