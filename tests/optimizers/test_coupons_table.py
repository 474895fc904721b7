"""A table of values goes in, a table of coupons comes out; faults are named, all of them at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from engine.errors import DataError, InfeasibleError, ProblemError, StorageError
from optimizers.coupons.allocate_file import allocate_file


def values(**columns: list[object]) -> pd.DataFrame:
    table = {
        "customer_id": ["a", "a", "b", "c"],
        "offer_id": ["five", "ten", "five", "ten"],
        "profit": [1.0, 3.0, 2.0, -1.0],
        "cost": [1.0, 4.0, 1.0, 1.0],
        "segment": ["north", "north", "south", "south"],
    }
    return pd.DataFrame(table | columns)


@pytest.fixture
def path(tmp_path):
    def write(table: pd.DataFrame, name: str = "values.parquet"):
        target = tmp_path / name
        if ".csv" in name:
            table.to_csv(target, index=False)
        else:
            table.to_parquet(target, index=False)
        return target

    return write


@pytest.mark.parametrize("name", ["values.parquet", "values.csv", "values.csv.gz"])
def test_the_best_coupons_within_the_budget_are_written(path, tmp_path, name):
    out = tmp_path / "plan" / "coupons.parquet"
    summary = allocate_file(path(values(), name), budget=2.0, out=out)
    assert (summary["sent"], summary["objective"], summary["spend"], summary["status"]) == (2, 3.0, 2.0, "optimal")
    table = pd.read_parquet(out)
    assert table.columns.tolist() == ["customer_id", "offer_id", "profit", "cost"]
    assert table.to_numpy().tolist() == [["a", "five", 1.0, 1.0], ["b", "five", 2.0, 1.0]]


def test_csv_out_and_no_limits(path, tmp_path):
    allocate_file(path(values()), out=tmp_path / "coupons.csv")
    assert pd.read_csv(tmp_path / "coupons.csv")["offer_id"].tolist() == ["ten", "five"]


def test_an_offer_without_a_row_is_not_made(path):
    assert allocate_file(path(values()), min_sent=3)["sent"] == 3
    with pytest.raises(InfeasibleError, match="at most 2 coupons"):
        allocate_file(path(values().query("customer_id != 'c'")), min_sent=3)


def test_segment_budgets_go_by_name(path):
    summary = allocate_file(path(values()), segment_budgets={"north": 1.0})
    assert summary["spend"] == 2.0
    assert set(summary["segment_shadow_price"]) == {"north", "south"}
    with pytest.raises(ProblemError, match="'west' is not in the table; it has: north, south"):
        allocate_file(path(values()), segment_budgets={"west": 1.0})
    with pytest.raises(ProblemError, match="no column segment"):
        allocate_file(path(values().drop(columns="segment")), segment_budgets={"north": 1.0})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (values(cost=[1, -4, 1, 1]), "column cost, row 2: .* negative"),
        (values(profit=[1, 2, np.nan, 3]), "column profit, row 3"),
        (values(profit=[1, np.inf, 2, 3]), "column profit, row 2"),
        (values(offer_id=["five", "five", "five", "ten"]), "row 2: the pair stood before"),
        (values(customer_id=["a", None, "b", "c"]), "column customer_id, row 2: empty"),
        (values(segment=["north", "south", "south", "south"]), "row 2: the customer stood in another segment"),
        (values(profit=["much", "1", "2", "3"]), "profit holds no numbers"),
        (values().drop(columns=["cost", "offer_id"]), "no column offer_id, cost"),
        (values().iloc[:0], "no rows|empty|no numbers"),
    ],
)
def test_faults_are_named(path, table, says):
    with pytest.raises(DataError, match=says):
        allocate_file(path(table), budget=1.0)


def test_all_faults_come_at_once(path):
    with pytest.raises(DataError) as caught:
        allocate_file(path(values(cost=[1, -4, 1, 1], profit=[1, 2, np.nan, 3])))
    assert "cost, row 2" in str(caught.value)
    assert "profit, row 3" in str(caught.value)


def test_missing_and_truncated_files_are_refused(path, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        allocate_file(tmp_path / "nowhere.parquet")
    cut = path(values())
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        allocate_file(cut)


def test_a_file_that_cannot_be_written_leaves_what_stood_there(path, tmp_path):
    blocked = tmp_path / "coupons.parquet"
    blocked.mkdir()
    with pytest.raises(StorageError):
        allocate_file(path(values()), out=blocked)
    assert not list(tmp_path.glob(".*.part"))


def test_caps_sends_and_contacts_go_by_name(path):
    assert allocate_file(path(values()), max_sent=1)["objective"] == 3.0
    capped = allocate_file(path(values()), offer_caps={"ten": 0})
    assert (capped["sent"], capped["objective"], capped["offer_shadow_price"]["ten"]) == (2, 3.0, None)
    busy = values(contacts=[2, 2, 0, 0])
    assert allocate_file(path(busy), contact_limit=2)["objective"] == 2.0
    with pytest.raises(ProblemError, match=r"offer 'two' is not in the table; it has: five, ten"):
        allocate_file(path(values()), offer_caps={"two": 1})
    with pytest.raises(DataError, match="no column contacts"):
        allocate_file(path(values()), contact_limit=2)
    with pytest.raises(DataError, match=r"contacts, row 2: 0.5 is no count"):
        allocate_file(path(values(contacts=[0, 0.5, 1, 1])), contact_limit=2)


def test_what_is_explored_is_logged_beside_what_is_sent(path, tmp_path):
    out = tmp_path / "coupons.parquet"
    table = values(customer_id=["a", "b", "c", "d"], offer_id=["five", "ten", "five", "ten"])
    summary = allocate_file(path(table.drop(columns="segment")), explore=1.0, seed=3, out=out)
    written = pd.read_parquet(out)
    assert summary["explored"] == len(written) == 4
    assert (written["explored"] == 1).all()
    assert (written["propensity"] == 0.5).all()
    assert set(written["offer_id"]) <= {"", "five", "ten"}


def test_parity_is_reported_and_decides_nothing(path):
    table = path(values(sex=["f", "f", "m", "m"]))
    told = allocate_file(table, parity="sex")
    assert told["objective"] == allocate_file(table)["objective"]
    assert told["parity"]["attribute"] == "sex"
    assert {group["group"]: group["sent"] for group in told["parity"]["groups"]} == {"f": 1, "m": 1}
    with pytest.raises(ProblemError, match="decides who is sent what"):
        allocate_file(table, parity="segment")
    with pytest.raises(DataError, match="no column age"):
        allocate_file(table, parity="age")
