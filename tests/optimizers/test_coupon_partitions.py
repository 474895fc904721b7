"""Coupons over partitions: as good as in memory, whatever the division; tables of any size; faults with their rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError, InfeasibleError, ProblemError
from optimizers.coupons import CouponProblem, allocate_coupons, staging
from optimizers.coupons import chunks as chunked
from optimizers.coupons.allocate_file import allocate_file
from optimizers.coupons.check import CouponPlanError
from optimizers.coupons.check_partitions import Limits, Prices, check_partitions, tally
from optimizers.coupons.chunks import allocate_large_file
from optimizers.coupons.partitions import allocate_partitions
from optimizers.coupons.questions import Chunks, offers_of
from optimizers.coupons.rows import make_rules
from optimizers.coupons.sums import Partition


def problem(n, seed, *, offers=4, archetypes=0, floor=0.0, budget=0.3):
    rng = np.random.default_rng(seed)
    kinds = archetypes or n
    profit = (rng.gamma(2, 1, (kinds, offers)) - 1).astype(np.float32)
    cost = rng.gamma(2, 0.5, (kinds, offers)).astype(np.float32)
    profit[:, 0] = cost[:, 0] = 0
    segment = rng.integers(0, 3, kinds)
    if archetypes:
        drawn = rng.integers(0, kinds, n)
        profit, cost, segment = profit[drawn], cost[drawn], segment[drawn]
    return CouponProblem(
        profit=profit,
        cost=cost,
        budget=budget * n,
        segment=segment,
        segment_budget=np.array([0.12 * n, math.inf, 0.1 * n]),
        min_sent=int(floor * n) or None,
    )


def divided(asked, parts):
    whole = Partition(asked.profit, asked.cost, asked.segment, np.ones(asked.n_customers, dtype=np.int32))
    pieces = [whole.take(slice(p[0], p[-1] + 1)) for p in np.array_split(np.arange(asked.n_customers), parts) if len(p)]
    return Chunks([lambda piece=piece: piece for piece in pieces])


def decide(asked, parts, gap=1e-6):
    chunks, rules = divided(asked, parts), make_rules(asked)
    plan = allocate_partitions(chunks, rules, gap=gap)
    choice = np.concatenate([offers_of(k, load(), plan.placement) for k, load in enumerate(chunks.loaders)])
    m = plan.multipliers
    prices = Prices(m.total, m.segment, m.floor, m.ceiling, m.offer)
    tallies = [tally(p.profit, p.cost, p.segment, choice[rows], prices) for p, rows in located(chunks)]
    limits = Limits(rules.budget, rules.segment_budget, rules.floor, rules.ceiling, rules.cap)
    check_partitions(tallies, limits, prices, objective=plan.objective, bound=plan.bound)
    return plan, choice, (tallies, limits, prices)


def located(chunks):
    first = 0
    for load in chunks.loaders:
        partition = load()
        yield partition, slice(first, first + len(partition.count))
        first += len(partition.count)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 400),
    parts=st.integers(1, 5),
    archetypes=st.sampled_from([0, 0, 7]),
    floor=st.sampled_from([0.0, 0.0, 0.2]),
)
def test_no_rule_is_broken_and_the_bound_holds(seed, n, parts, archetypes, floor):
    asked = problem(n, seed, archetypes=archetypes, floor=floor)
    plan, choice, _ = decide(asked, parts)
    exact = allocate_coupons(asked, "exact", gap=1e-6)
    assert plan.objective <= exact.bound * (1 + 1e-9) + 1e-9
    assert plan.bound >= exact.objective * (1 - 1e-9) - 1e-9
    assert np.count_nonzero(choice) == plan.sent


def test_partitions_are_as_good_as_memory():
    asked = problem(60_000, 1, floor=0.6)
    here = allocate_coupons(asked, "dual", gap=1e-6)
    for parts in (1, 7):
        plan, _, _ = decide(asked, parts)
        assert plan.status == "optimal"
        assert plan.objective == pytest.approx(here.objective, rel=1e-6)
        assert plan.bound == pytest.approx(here.bound, rel=1e-7)


def test_the_same_division_gives_the_same_plan():
    asked = problem(20_000, 2)
    (first, one, _), (again, other, _) = decide(asked, 4), decide(asked, 4)
    assert (first.objective, first.bound) == (again.objective, again.bound)
    assert one.tobytes() == other.tobytes()


def test_ties_are_decided_by_counts():
    plan, _, _ = decide(problem(50_000, 3, archetypes=40), 5, gap=1e-4)
    assert plan.status == "optimal"


def test_nothing_to_spend_sends_what_costs_nothing():
    asked = problem(500, 4, budget=0.0)
    plan, choice, _ = decide(asked, 3)
    assert plan.spend == 0.0
    assert not choice.any()


def test_a_floor_out_of_reach_is_refused_with_the_most_that_is_possible():
    asked = problem(2_000, 5, floor=0.99, budget=0.1)
    with pytest.raises(InfeasibleError, match="at most") as here:
        allocate_coupons(asked)
    with pytest.raises(InfeasibleError, match="at most") as there:
        decide(asked, 3)
    most = [int(str(e.value).split("at most ")[1].split(" ")[0].replace(",", "")) for e in (here, there)]
    assert abs(most[0] - most[1]) <= 5  # the multipliers bound it, to a few customers


def test_the_re_check_finds_a_plan_that_is_not_what_it_says():
    asked = problem(300, 6)
    plan, _, (tallies, limits, prices) = decide(asked, 2)
    with pytest.raises(CouponPlanError, match="its customers bring"):
        check_partitions(tallies, limits, prices, objective=plan.objective + 1, bound=plan.bound)
    with pytest.raises(CouponPlanError, match="certify"):
        check_partitions(tallies, limits, prices, objective=plan.objective, bound=plan.objective * 0.9)
    with pytest.raises(CouponPlanError, match="the budget of"):
        check_partitions(
            tallies, Limits(1.0, *list(limits.__dict__.values())[1:]), prices, objective=plan.objective, bound=math.inf
        )


# --- tables


@pytest.fixture
def table():
    rng = np.random.default_rng(7)
    n = 900
    long = pd.DataFrame(
        {
            "customer_id": np.repeat([f"c{i}" for i in range(n)], 3),
            "offer_id": np.tile(["o1", "o2", "o3"], n),
            "profit": rng.gamma(2, 1, 3 * n) - 1,
            "cost": rng.gamma(2, 0.5, 3 * n),
            "segment": np.repeat(rng.choice(["a", "b"], n), 3),
        }
    )
    return long.sample(frac=0.9, random_state=1).reset_index(drop=True)  # in no order, some offers missing


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(staging, "BUCKET_ROWS", 600)
    monkeypatch.setattr(staging, "BATCH", 250)


def test_a_large_table_gives_what_a_small_one_does(table, tmp_path):
    table.to_parquet(tmp_path / "v.parquet")
    rules = {"budget": 200.0, "segment_budgets": {"a": 80.0}, "min_sent": 250}
    here = allocate_file(tmp_path / "v.parquet", **rules)
    there = allocate_large_file(tmp_path / "v.parquet", **rules, out=tmp_path / "out.parquet")
    assert there["objective"] == pytest.approx(here["objective"], rel=2e-4)
    assert set(there) == set(here)
    sent = pd.read_parquet(tmp_path / "out.parquet")
    assert len(sent) == there["sent"] >= 250
    assert sent["profit"].sum() == pytest.approx(there["objective"], rel=1e-9)
    merged = sent.merge(table, on=["customer_id", "offer_id"], suffixes=("", "_asked"))
    assert len(merged) == len(sent)
    assert not sent["customer_id"].duplicated().any()
    assert merged.loc[merged["segment"] == "a", "cost"].sum() <= 80.0 * (1 + 1e-6)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_no_time_leaves_a_plan_that_keeps_the_rules_and_says_so(table, tmp_path):
    table.to_parquet(tmp_path / "v.parquet")
    found = allocate_large_file(tmp_path / "v.parquet", budget=50.0, seconds=0.0, out=tmp_path / "out.parquet")
    assert found["status"] == "time_limit"
    assert found["spend"] <= 50.0
    assert found["bound"] >= found["objective"]


def test_csv_comes_out_too(table, tmp_path):
    table.to_parquet(tmp_path / "v.parquet")
    allocate_large_file(tmp_path / "v.parquet", budget=50.0, out=tmp_path / "out.csv")
    assert list(pd.read_csv(tmp_path / "out.csv").columns) == ["customer_id", "offer_id", "profit", "cost"]


@pytest.mark.parametrize(
    ("row", "column", "value", "said"),
    [
        (700, "profit", np.nan, "column profit, row 701"),
        (333, "cost", -1.0, r"column cost, row 334: -1.0 is negative"),
        (1200, "customer_id", None, "column customer_id, row 1201: empty"),
        (5, "offer_id", "", "column offer_id, row 6: empty"),
        (900, "segment", "elsewhere", "second|another segment"),
    ],
)
def test_a_fault_in_any_chunk_is_named_with_its_row(table, tmp_path, row, column, value, said):
    table.loc[row, column] = value
    table.to_parquet(tmp_path / "v.parquet")
    with pytest.raises(DataError, match=said):
        allocate_large_file(tmp_path / "v.parquet", budget=50.0, out=tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_pair_that_stands_twice_is_named(table, tmp_path):
    pd.concat([table, table.iloc[[10]]], ignore_index=True).to_parquet(tmp_path / "v.parquet")
    with pytest.raises(DataError, match=f"row {len(table) + 1}: the pair stood before"):
        allocate_large_file(tmp_path / "v.parquet", budget=50.0)


def test_what_cannot_be_a_rule_is_refused(table, tmp_path):
    table.to_parquet(tmp_path / "v.parquet")
    with pytest.raises(ProblemError, match="segment 'z'"):
        allocate_large_file(tmp_path / "v.parquet", budget=50.0, segment_budgets={"z": 1.0})
    with pytest.raises(ProblemError, match="negative"):
        allocate_large_file(tmp_path / "v.parquet", budget=-1.0)
    with pytest.raises(DataError, match="no column profit"):
        table.drop(columns="profit").to_parquet(tmp_path / "w.parquet")
        allocate_large_file(tmp_path / "w.parquet", budget=1.0)


def test_a_failure_while_writing_leaves_the_old_result(table, tmp_path, monkeypatch):
    table.to_parquet(tmp_path / "v.parquet")
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")
    calls = []

    def fails(number, chunk, plan):
        calls.append(number)
        if number == 1:
            raise KeyboardInterrupt
        return decided(number, chunk, plan)

    decided = chunked._decide
    monkeypatch.setattr(chunked, "_decide", fails)
    with pytest.raises(KeyboardInterrupt):
        allocate_large_file(tmp_path / "v.parquet", budget=50.0, out=out)
    assert calls == [0, 1]
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.parquet", "v.parquet"]
