"""Every limit means the same in chunks as in memory, and holds in the table that is written."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError, InfeasibleError, ProblemError
from optimizers.coupons import staging
from optimizers.coupons.allocate_file import allocate_file
from optimizers.coupons.chunks import allocate_large_file
from optimizers.coupons.explore import draw_exploration
from optimizers.coupons.partitioned_plan import decided
from optimizers.coupons.partitions import allocate_partitions
from optimizers.coupons.questions import Chunks
from optimizers.coupons.slices import draw_slice, plan_slice
from optimizers.coupons.sums import Partition, Rules

CUSTOMERS = 700
OFFERS = ("o1", "o2", "o3", "o4", "o5", "o6")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(staging, "BUCKET_ROWS", 900)
    monkeypatch.setattr(staging, "BATCH", 400)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(11)
    n, o = CUSTOMERS, len(OFFERS)
    long = pd.DataFrame(
        {
            "customer_id": np.repeat([f"c{i}" for i in range(n)], o),
            "offer_id": np.tile(OFFERS, n),
            "profit": rng.gamma(2, 1, n * o) - 1,
            "cost": rng.gamma(2, 0.5, n * o),
            "segment": np.repeat(rng.choice(["a", "b"], n), o),
            "contacts": np.repeat(rng.integers(0, 4, n), o),
            "held": (rng.random(n * o) < 0.15).astype(int),
            "sex": np.repeat(rng.choice(["f", "m"], n), o),
        }
    )
    return long.sample(frac=0.9, random_state=1).reset_index(drop=True)


@pytest.fixture(scope="module")
def path(table, tmp_path_factory):
    target = tmp_path_factory.mktemp("values") / "v.parquet"
    table.to_parquet(target)
    return target


LIMITS = {
    "caps": {"budget": 300.0, "offer_caps": {"o1": 20, "o2": 0, "o3": 31, "o4": 15, "o5": 60, "o6": 44}},
    "sends": {"budget": 300.0, "min_sent": 120, "max_sent": 180},
    "contacts": {"budget": 100.0, "contact_limit": 2},
    "exclusive": {"budget": 200.0, "exclusive": [["o1", "o2"], ["o6"]]},
    "explore": {"budget": 90.0, "explore": 0.2, "offer_caps": {"o1": 9}, "max_sent": 150},
    "all": {
        "budget": 150.0,
        "segment_budgets": {"a": 60.0},
        "min_sent": 50,
        "max_sent": 140,
        "offer_caps": {"o1": 12, "o2": 30},
        "contact_limit": 3,
        "exclusive": [["o1", "o2", "o3"]],
        "explore": 0.1,
        "parity": "sex",
    },
}


def broken(written, table, limits):
    """Every limit that the written coupons break, by the table and plain arithmetic."""
    sent = written[written["offer_id"] != ""]
    merged = sent.merge(table, on=["customer_id", "offer_id"], suffixes=("", "_asked"))
    found = [] if len(merged) == len(sent) else ["an offer without a row"]
    if sent["customer_id"].duplicated().any():
        found.append("two coupons for one customer")
    if sent["cost"].sum() > limits.get("budget", math.inf) * (1 + 1e-9):
        found.append("budget")
    for name, money in limits.get("segment_budgets", {}).items():
        if merged.loc[merged["segment"] == name, "cost"].sum() > money * (1 + 1e-9):
            found.append(f"segment {name}")
    if not limits.get("min_sent", 0) <= len(sent) <= limits.get("max_sent", math.inf):
        found.append("number sent")
    for name, most in limits.get("offer_caps", {}).items():
        if (sent["offer_id"] == name).sum() > most:
            found.append(f"cap of {name}")
    if (merged["contacts"] + 1 > limits.get("contact_limit", math.inf)).any():
        found.append("contacts")
    for group in limits.get("exclusive", []):
        holders = table.loc[table["offer_id"].isin(group) & (table["held"] == 1), "customer_id"]
        if (sent["offer_id"].isin(group) & sent["customer_id"].isin(holders)).any():
            found.append("exclusion")
    return found


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_holds_in_what_chunks_write_and_costs_what_it_costs_in_memory(path, table, tmp_path, name):
    limits = LIMITS[name]
    there = allocate_large_file(path, **limits, gap=1e-5, seed=5, out=tmp_path / "out.parquet")
    here = allocate_file(path, **limits, gap=1e-5, seed=5, out=tmp_path / "here.parquet")
    written = pd.read_parquet(tmp_path / "out.parquet")
    assert broken(written, table, limits) == []
    assert broken(pd.read_parquet(tmp_path / "here.parquet"), table, limits) == []
    assert set(there) == set(here)
    assert there["gap"] < 2e-3
    assert written["profit"].sum() == pytest.approx(there["objective"], rel=1e-9)
    if not limits.get("explore"):  # the two roads draw different slices
        assert there["bound"] == pytest.approx(here["bound"], rel=1e-3)  # memory goes on below the Lagrangian's
        assert there["objective"] == pytest.approx(here["objective"], rel=2e-3)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 80),
    parts=st.integers(1, 4),
    share=st.sampled_from([0.05, 0.4, 1.0]),
    cap=st.sampled_from([0, 1, 5, math.inf]),
    ceiling=st.sampled_from([0, 3, math.inf]),
    budget=st.sampled_from([0.0, 2.0, 30.0, math.inf]),
)
def test_a_slice_drawn_in_parts_keeps_every_rule(seed, n, parts, share, cap, ceiling, budget):
    whole, rules = drawn_problem(seed, n, cap, ceiling, budget)
    chunks = divided(whole, parts)
    plan = allocate_partitions(chunks, rules, explore=share, seed=seed)
    found = [decided(k, load(), plan) for k, load in enumerate(chunks.loaders)]
    choice = np.concatenate([one.choice for one in found])
    cost = whole.cost[np.arange(n), choice].astype(np.float64)
    assert cost.sum() <= budget * (1 + 1e-9)
    assert (np.bincount(whole.segment, cost, 2) <= rules.segment_budget * (1 + 1e-9)).all()
    assert np.count_nonzero(choice) <= ceiling
    assert np.count_nonzero(choice == 1) <= cap
    assert np.isfinite(whole.profit[np.arange(n), choice]).all()
    earned = whole.profit[np.arange(n), choice].astype(np.float64).sum()
    assert plan.objective == pytest.approx(earned, rel=1e-9, abs=1e-9)
    assert plan.bound >= plan.objective - 1e-9


def drawn_problem(seed, n, cap=math.inf, ceiling=math.inf, budget=math.inf):
    rng = np.random.default_rng(seed)
    profit, cost = rng.gamma(2, 1, (n, 4)).astype(np.float32) - 1, rng.gamma(2, 0.5, (n, 4)).astype(np.float32)
    profit[rng.random((n, 4)) < 0.2] = -np.inf
    profit[:, 0] = cost[:, 0] = 0
    whole = Partition(profit, cost, rng.integers(0, 2, n), np.ones(n, dtype=np.int32))
    caps = np.array([math.inf, cap, math.inf, math.inf])
    return whole, Rules(float(budget), np.array([0.4 * budget or 0.0, math.inf]), 0.0, float(ceiling), caps)


def divided(whole, parts):
    pieces = [whole.take(p) for p in np.array_split(np.arange(len(whole.count)), parts) if len(p)]
    return Chunks([lambda piece=piece: piece for piece in pieces])


def test_the_logged_chances_are_those_with_which_offers_come_up():
    """Drawn under many seeds, each customer's offer comes up as often as its logged chance says (no limit binds)."""
    whole, rules = drawn_problem(3, 60)
    chunks, times = divided(whole, 3), 1_500
    came, expected, members = np.zeros((60, 4)), np.zeros((60, 4)), 0
    for seed in range(times):
        plan = plan_slice(chunks, rules, 0.5, seed)
        drawn = [draw_slice(k, load(), plan) for k, load in enumerate(chunks.loaders)]
        explored = np.concatenate([one.explored for one in drawn])
        choice = np.concatenate([one.choice for one in drawn])[explored]
        weight = 1 / np.concatenate([one.propensity for one in drawn])[explored]
        members += explored.sum()
        came[np.flatnonzero(explored), choice] += weight
    assert members / (60 * times) == pytest.approx(0.5, abs=0.01)
    expected[np.isfinite(whole.profit)] = 0.5 * times
    assert np.abs(came - expected).max() < 0.2 * times  # four standard errors of a chance of 1/4
    assert came.sum(axis=0)[0] == pytest.approx(0.5 * times * 60, rel=0.02)


def test_a_slice_takes_its_share_of_what_binds_as_in_memory():
    from optimizers.coupons import CouponProblem

    whole, rules = drawn_problem(8, 4_000, cap=100, budget=600.0)
    offered = np.isfinite(whole.profit)
    profit = np.where(offered, whole.profit, 0)
    problem = CouponProblem(
        profit,
        whole.cost,
        600.0,
        whole.segment,
        rules.segment_budget,
        offered=offered,
        offer_cap=rules.cap,
        explore=0.3,
    )
    here = draw_exploration(problem, np.random.default_rng(1))
    chunks = divided(whole, 5)
    plan = plan_slice(chunks, rules, 0.3, 1)
    there = np.concatenate([draw_slice(k, load(), plan).choice for k, load in enumerate(chunks.loaders)])
    spent = [whole.cost[np.arange(4_000), choice].astype(float).sum() for choice in (here.choice, there)]
    assert spent[1] == pytest.approx(0.3 * 600, rel=0.15)
    assert spent[0] == pytest.approx(spent[1], rel=0.25)
    assert abs((there == 1).sum() - 30) <= 20


def test_the_same_seed_draws_the_same_slice(path, tmp_path):
    asked = {"budget": 90.0, "explore": 0.2}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        allocate_large_file(path, **asked, seed=seed, out=tmp_path / name)
    one, again, other = ((tmp_path / name).read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_parity_in_chunks_is_that_of_the_written_coupons(path, table, tmp_path):
    told = allocate_large_file(path, budget=100.0, parity="sex", out=tmp_path / "out.parquet")["parity"]
    people = table.drop_duplicates("customer_id").set_index("customer_id")["sex"]
    sent = pd.read_parquet(tmp_path / "out.parquet").set_index("customer_id")
    for group in told["groups"]:
        members = people.index[people == group["group"]]
        brought = sent["profit"].reindex(members).fillna(0.0)
        assert (group["customers"], group["sent"]) == (len(members), members.isin(sent.index).sum())
        assert group["mean_profit"]["value"] == pytest.approx(brought.mean())
        half = 1.959963984540054 * brought.std(ddof=1) / math.sqrt(len(members))
        assert group["mean_profit"]["high"] - group["mean_profit"]["value"] == pytest.approx(half)
    with pytest.raises(ProblemError, match="follow"):
        table.assign(segment=table["sex"]).to_parquet(tmp_path / "w.parquet")
        allocate_large_file(tmp_path / "w.parquet", segment_budgets={"f": 10.0}, parity="sex")


@pytest.mark.parametrize("allocate", [allocate_file, allocate_large_file])
@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"offer_caps": {"zz": 3}}, ProblemError, "offer 'zz' is not in the table"),
        ({"exclusive": [["o1", "zz"]]}, ProblemError, "offer 'zz' is not in the table"),
        ({"min_sent": 5, "max_sent": 4}, ProblemError, "min_sent = 5 is above max_sent = 4"),
        ({"max_sent": -1}, ProblemError, "max_sent = -1"),
        ({"budget": math.nan}, ProblemError, "budget = nan"),
        ({"budget": math.inf}, ProblemError, "None for no limit"),
        ({"offer_caps": {"o1": 1.5}}, ProblemError, "1.5"),
        ({"explore": 1.5}, ProblemError, "explore = 1.5"),
        ({"parity": "held"}, ProblemError, "decides who is sent what"),
        ({"parity": "age"}, DataError, "no column age"),
        ({"min_sent": 690, "max_sent": 699, "contact_limit": 2}, InfeasibleError, "at most"),
    ],
)
def test_what_cannot_be_is_refused_by_name_on_both_roads(path, allocate, asked, error, said):
    with pytest.raises(error, match=said):
        allocate(path, **asked)


@pytest.mark.parametrize("allocate", [allocate_file, allocate_large_file])
def test_columns_that_a_limit_needs_are_asked_for_and_checked(table, tmp_path, allocate):
    target = tmp_path / "w.parquet"
    table.drop(columns=["contacts", "held"]).to_parquet(target)
    with pytest.raises(DataError, match="no column contacts"):
        allocate(target, contact_limit=1)
    with pytest.raises(DataError, match="no column held"):
        allocate(target, exclusive=[["o1", "o2"]])
    table.assign(held=np.where(np.arange(len(table)) == 7, 2, table["held"])).to_parquet(target)
    with pytest.raises(DataError, match=r"column held, row 8: 2\.0 is neither 0 nor 1"):
        allocate(target, exclusive=[["o1", "o2"]])
    table.assign(contacts=np.where(np.arange(len(table)) == 1200, -1, table["contacts"])).to_parquet(target)
    with pytest.raises(DataError, match=r"column contacts, row 1201: -1\.0 is no count"):
        allocate(target, contact_limit=1)


def test_no_time_to_reach_a_floor_is_said_and_writes_nothing(path, tmp_path):
    with pytest.raises(ProblemError, match=r"stopped \(time_limit\) before a plan was found that sends min_sent = 300"):
        allocate_large_file(path, budget=300.0, min_sent=300, seconds=0.0, out=tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_floor_that_is_reached_is_not_counted_first(path, monkeypatch):
    """What a floor can reach takes passes over everybody: it is asked only where the floor is missed."""
    asked = []
    monkeypatch.setattr("optimizers.coupons.partitions.check_floor", lambda *_: asked.append(1))
    assert allocate_large_file(path, budget=300.0, min_sent=200)["sent"] >= 200
    assert asked == []
