"""Input that is wrong, empty or degenerate: refused by name or decided rightly, in memory and in chunks alike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.errors import DataError, InfeasibleError, ProblemError
from optimizers.coupons import staging
from optimizers.coupons.allocate_file import allocate_file
from optimizers.coupons.chunks import allocate_large_file

ROADS = (allocate_file, allocate_large_file)
pytestmark = pytest.mark.parametrize("allocate", ROADS, ids=["memory", "chunks"])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(staging, "BUCKET_ROWS", 300)
    monkeypatch.setattr(staging, "BATCH", 200)


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(6)
    n, offers = 250, ("o1", "o2", "o3")
    return pd.DataFrame(
        {
            "customer_id": np.repeat(np.arange(n), 3),
            "offer_id": np.tile(offers, n),
            "profit": rng.gamma(2, 1, 3 * n) - 1,
            "cost": rng.gamma(2, 0.5, 3 * n) + 0.01,
            "segment": np.repeat(rng.choice(["a", "b"], n), 3),
        }
    )


def written(table, folder):
    table.to_parquet(folder / "v.parquet")
    return folder / "v.parquet"


def with_value(table, column, row, value):
    changed = table.copy()
    changed[column] = changed[column].astype(object if isinstance(value, str) else changed[column].dtype)
    changed.loc[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("profit", np.nan, "column profit, row 401: nan is not a finite number"),
        ("profit", -np.inf, "column profit, row 401: -inf is not a finite number"),
        ("cost", np.inf, "column cost, row 401: inf is not a finite number"),
        ("profit", 1e300, r"column profit, row 401: 1e\+300 is too large; give money, at most 1e\+30"),
        ("cost", 1e38, r"column cost, row 401: 1e\+38"),
        ("cost", -0.01, r"column cost, row 401: -0\.01 is negative"),
        ("offer_id", "", "column offer_id, row 401: empty"),
    ],
)
def test_a_value_that_is_none_is_named_with_its_row(values, tmp_path, allocate, column, value, said):
    with pytest.raises(DataError, match=said):
        allocate(written(with_value(values, column, 400, value), tmp_path), budget=20.0)


def test_nobody_has_a_name(values, tmp_path, allocate):
    with pytest.raises(DataError, match=r"column customer_id, row 1: empty.*\(\d+ rows\)"):
        allocate(written(values.assign(customer_id=""), tmp_path), budget=20.0)


@pytest.mark.parametrize("column", ["profit", "cost"])
def test_words_are_no_money(values, tmp_path, allocate, column):
    with pytest.raises(DataError, match=f"column {column} holds no numbers"):
        allocate(written(values.assign(**{column: "much"}), tmp_path), budget=20.0)


@pytest.mark.parametrize(("option", "value"), [("seconds", -1.0), ("seconds", np.nan), ("gap", 0.0), ("gap", np.nan)])
def test_a_time_limit_or_gap_that_is_none_is_refused(values, tmp_path, allocate, option, value):
    with pytest.raises(ProblemError, match=f"{option} = "):
        allocate(written(values, tmp_path), budget=20.0, **{option: value})


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(250).astype(np.uint64) + np.uint64(2**64 - 300),
        np.iinfo(np.int64).min + np.arange(250),
        np.array([str(2**80 + i) for i in range(250)]),
        np.array([f"käufer-{i} 🛒" for i in range(250)]),
    ],
    ids=["uint64", "int64", "beyond 64 bits", "not ASCII"],
)
def test_identifiers_of_any_size_stay_what_they_are(values, tmp_path, allocate, ids):
    table = values.assign(customer_id=np.repeat(ids, 3))
    told = allocate(written(table, tmp_path), budget=30.0, out=tmp_path / "out.parquet")
    plain = allocate(written(values, tmp_path), budget=30.0)
    sent = pd.read_parquet(tmp_path / "out.parquet")
    assert set(sent["customer_id"]) <= set(map(str, ids.tolist()))
    assert sent["customer_id"].is_unique
    assert told["objective"] == pytest.approx(plain["objective"], rel=5e-3)


def test_all_zero_profit_sends_nothing_or_just_what_is_asked_for(values, tmp_path, allocate):
    path = written(values.assign(profit=0.0), tmp_path)
    assert allocate(path, budget=20.0)["objective"] == 0
    told = allocate(path, budget=500.0, min_sent=50)
    assert told["sent"] >= 50
    assert (told["objective"], told["gap"]) == (0, 0)


def test_losses_are_not_sent_unless_asked_for(values, tmp_path, allocate):
    path = written(values.assign(profit=-1.0), tmp_path)
    assert allocate(path, budget=20.0)["sent"] == 0
    told = allocate(path, budget=500.0, min_sent=50)
    assert (told["sent"], told["objective"]) == (50, -50)


def test_a_budget_below_the_smallest_cost_sends_nothing(values, tmp_path, allocate):
    told = allocate(written(values.assign(cost=values["cost"] + 1), tmp_path), budget=0.5)
    assert (told["sent"], told["spend"], told["objective"]) == (0, 0, 0)
    assert told["bound"] >= 0


def test_nothing_to_spend_sends_what_is_free(values, tmp_path, allocate):
    free = values.assign(cost=np.where(values["offer_id"] == "o1", 0.0, values["cost"]))
    told = allocate(written(free, tmp_path), budget=0.0, segment_budgets={"a": 0.0})
    best = free.loc[(free["offer_id"] == "o1") & (free["profit"] > 0), "profit"]
    assert (told["sent"], told["spend"]) == (len(best), 0)
    assert told["objective"] == pytest.approx(best.sum(), rel=1e-6)


def test_nothing_to_spend_cannot_reach_a_floor(values, tmp_path, allocate):
    with pytest.raises(InfeasibleError, match="at most 0 coupons"):
        allocate(written(values, tmp_path), budget=0.0, min_sent=1)


def test_identical_customers_get_what_the_budget_buys(tmp_path, allocate, monkeypatch):
    monkeypatch.undo()  # a hundred thousand rows in pieces of the usual size
    n = 100_000
    alike = pd.DataFrame({"customer_id": np.arange(n), "offer_id": "o", "profit": 1.0, "cost": 1.0})
    path = written(alike, tmp_path)
    told = allocate(path, budget=1_000.5, min_sent=900)
    assert (told["sent"], told["objective"]) == (1_000, 1_000)
    with pytest.raises(InfeasibleError, match="at most 1,000 coupons"):
        allocate(path, budget=1_000.5, min_sent=1_001)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 14, 25])
def test_cancelled_anywhere_the_plan_in_hand_keeps_every_rule(values, tmp_path, allocate, after):
    asked = iter(range(10**6))
    limits = {"budget": 40.0, "max_sent": 60, "offer_caps": {"o1": 10}, "explore": 0.1}
    told = allocate(
        written(values, tmp_path),
        **limits,
        cancelled=lambda: next(asked) >= after,
        out=tmp_path / "out.parquet",
    )
    sent = pd.read_parquet(tmp_path / "out.parquet").query("offer_id != ''")
    assert told["status"] in {"cancelled", "gap_limit", "optimal"}
    assert sent["cost"].sum() <= 40 * (1 + 1e-9)
    assert len(sent) == told["sent"] <= 60
    assert (sent["offer_id"] == "o1").sum() <= 10
    assert sent["profit"].sum() == pytest.approx(told["objective"], rel=1e-9, abs=1e-9)
    assert told["bound"] >= told["objective"] - 1e-9


KILLED = """
import sys, time
from pathlib import Path
from optimizers.coupons import {module} as road

def sleeps(*_, **__):
    print("deciding", flush=True)
    time.sleep(60)

road.{step} = sleeps
road.{name}(Path(sys.argv[1]), budget=20.0, out=Path(sys.argv[2]))
"""


def test_killed_in_the_middle_leaves_the_old_result_and_nothing_in_the_way(values, tmp_path, allocate):
    path, out = written(values, tmp_path), tmp_path / "out.parquet"
    out.write_bytes(b"old")
    step, module = ("write_plan", "allocate_file") if allocate is allocate_file else ("_write", "chunks")
    script = KILLED.format(module=module, step=step, name=allocate.__name__)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(out)], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline().strip() == "deciding"
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    assert out.read_bytes() == b"old"
    told = allocate(path, budget=20.0, out=out)
    assert len(pd.read_parquet(out)) == told["sent"]
    left = [found.name for found in tmp_path.iterdir() if found.name.startswith(".allocate-")]
    assert left == []


def test_two_runs_beside_each_other_do_not_take_each_others_chunks(values, tmp_path, allocate, monkeypatch):
    """A run that begins while another works leaves the other's folder alone."""
    path, seen = written(values, tmp_path), []

    def again(_):
        if not seen:
            seen.append(time.monotonic())
            seen.append(allocate(path, budget=20.0, gap=1e-3)["objective"])

    told = allocate(path, budget=20.0, gap=1e-3, progress=again)
    assert told["objective"] == seen[1]
