"""Markdown, promotions and one budget as commands: tables are read as they are meant, and the files can be taken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from api.cli import cli, run_command
from api.plan_tables import (
    SOLD,
    CalendarRules,
    MarkdownRules,
    PlanTable,
    after_sales,
    markdown_problem,
    promotion_problem,
    read_sold,
)
from engine.errors import DataError, OfferwrightError
from optimizers.markdown import advance_week

STOCK = """product_id,stock,price,week_units,elasticity,elasticity_se,decay,salvage
coat,60,90,6,-2.2,0.4,0.9,10
0042,100,20,20,-1.8,,,2
"""
PRODUCTS = """product_id,price,unit_cost,base_units,category,dip_1,lift_leaflet
milk,1.2,0.8,400,dairy,0.1,
butter,2.5,1.6,150,dairy,0.2,2.6
bread,2.2,0.9,300,bakery,0,
"""
OPTIONS = """option,depth,lift,takes,fixed_cost,slot,slots
leaflet,0.2,2.1,0.05,60,page,1
shelf,0.1,1.4,0.02,15,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("stock", STOCK), ("products", PRODUCTS), ("options", OPTIONS)):
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def call(folder: Path, *arguments: str) -> dict[str, object]:
    quiet = ("--set", "log.level=error", "--set", f"data.home={folder / 'home'}", "--json")
    done = CliRunner().invoke(cli, [*arguments, *quiet], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_a_markdown_is_planned_and_planned_again_with_what_sold(folder: Path) -> None:
    out = folder / "out"
    told = call(folder, "markdown", str(folder / "stock.csv"), "--weeks", "4", "--max-steps", "2", "--out", str(out))
    lines = pd.read_csv(out / "markdown.csv", dtype={"product_id": str})
    assert set(lines["product_id"]) == {"coat", "0042"}, "an identifier stays as it is written"
    for product, price in (("coat", 90.0), ("0042", 20.0)):
        path = [price, *lines[lines["product_id"] == product]["price"]]
        assert path == sorted(path, reverse=True)
        assert len(set(path)) <= 3, "two changes at the most"
    assert told["kept"] <= told["objective"] <= told["bound"] + 1e-9  # type: ignore[operator]
    assert "Selling a stock by a date" in (out / "markdown.html").read_text()
    first = lines[lines["week"] == 1].assign(sold=[5, 18], stock=[55, 82])
    first.to_csv(folder / "sold.csv", index=False)
    again = call(
        folder,
        *("markdown", str(folder / "stock.csv"), "--weeks", "4", "--max-steps", "2"),
        *("--sold", str(folder / "sold.csv"), "--out", str(out)),
    )
    assert (again["weeks_over"], again["weeks_left"]) == (1, 3)
    assert list(pd.read_csv(out / "markdown.csv")["week"].unique()) == [2, 3, 4]


def test_the_table_says_what_the_problem_holds(folder: Path) -> None:
    table = PlanTable.read(folder / "stock.csv", ("product_id", "stock"))
    problem = markdown_problem(table, MarkdownRules(3, (0.5, 0.8)), draws=400, rng=np.random.default_rng(1))
    assert problem.ladder.tolist() == [[45, 72, 90], [10, 16, 20]]
    assert problem.ladder[[0, 1], problem.current_rung].tolist() == [90, 20]
    assert problem.week_units.T.tolist() == [pytest.approx([6, 5.4, 4.86]), [20, 20, 20]]
    assert problem.base_scale.mean(axis=0) == pytest.approx([1, 1], abs=0.05)
    assert problem.own[:, 0].std() == pytest.approx(0.4, rel=0.15)
    assert np.unique(problem.own[:, 1]).tolist() == [-1.8]
    sold = folder / "sold.csv"
    sold.write_text("product_id,week,price,sold,stock\ncoat,1,72,5,55\n0042,1,20,30,70\n")
    left, over = after_sales(problem, read_sold(sold, SOLD))
    by_hand = advance_week(problem, np.array([5.0, 30.0]), np.array([55.0, 70.0]), np.array([1, 2]))
    assert over == 1
    assert np.array_equal(left.probability(), by_hand.probability())
    assert np.array_equal(left.stock, by_hand.stock)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("coat,60", "coat,many", r"column stock, row 1: 'many' is no finite number"),
        ("coat,60", "coat,-3", r"coat.*stock.*-3"),
        ("0042,", "coat,", r"product_id stands twice in row 2 \('coat'\)"),
        ("week_units", "units", r"no column week_units, and not all of week_units_1"),
        ("stock,price", "amount,price", r"no column stock; it has product_id, amount"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_by_name(folder: Path, old: str, new: str, says: str) -> None:
    (folder / "stock.csv").write_text(STOCK.replace(old, new, 1))
    with pytest.raises(OfferwrightError, match=says):
        table = PlanTable.read(folder / "stock.csv", ("product_id", "stock", "price", "elasticity"))
        markdown_problem(table, MarkdownRules(3), draws=5, rng=np.random.default_rng(1))


def test_a_week_without_a_product_or_off_the_ladder_is_refused(folder: Path) -> None:
    table = PlanTable.read(folder / "stock.csv", ("product_id", "stock"))
    problem = markdown_problem(table, MarkdownRules(3), draws=5, rng=np.random.default_rng(1))
    sold = folder / "sold.csv"
    for rows, says in (("coat,1,90,5,55\n", "no row for product 0042"), ("coat,1,91,5,55\n0042,1,20,1,9\n", "91.0")):
        sold.write_text("product_id,week,price,sold,stock\n" + rows)
        with pytest.raises(DataError, match=says):
            after_sales(problem, read_sold(sold, SOLD))


def test_a_calendar_keeps_its_slots_gap_and_budget(folder: Path) -> None:
    out = folder / "out"
    told = call(
        folder,
        *("promotions", str(folder / "products.csv"), "--options", str(folder / "options.csv"), "--weeks", "8"),
        *("--budget", "900", "--min-gap", "2", "--out", str(out)),
    )
    lines = pd.read_csv(out / "promotions.csv")
    assert len(lines) == told["promotions"]
    assert told["spend"] <= 900 + 1e-6  # type: ignore[operator]
    assert (lines[lines["option"] == "leaflet"].groupby("week").size() <= 1).all()
    assert (lines.sort_values("week").groupby("product_id")["week"].diff().dropna() >= 2).all()
    tables = [
        PlanTable.read(folder / f"{name}.csv", (), key)
        for name, key in (("products", "product_id"), ("options", "option"))
    ]
    problem = promotion_problem(tables[0], tables[1], CalendarRules(8), draws=5, rng=np.random.default_rng(1))
    assert problem.lift.tolist() == [[2.1, 1.4], [2.6, 1.4], [2.1, 1.4]]
    assert problem.slots.tolist() == [[1.0] * 8]
    assert problem.slot.tolist() == [0, -1]


def test_every_budget_has_plans_that_stay_within_it(folder: Path) -> None:
    rng, people = np.random.default_rng(1), [f"C{i}" for i in range(60)]
    values = pd.DataFrame({"customer_id": np.repeat(people, 2), "offer_id": ["A", "B"] * 60})
    values = values.assign(profit=rng.normal(0.3, 1, 120), cost=rng.uniform(0.2, 2, 120))
    values.to_parquet(folder / "values.parquet")
    told = call(
        folder,
        *("budget", "--budgets", "20,400", "--coupons", str(folder / "values.parquet"), "--weeks", "6"),
        *("--promotions", str(folder / "products.csv"), "--options", str(folder / "options.csv")),
        *("--out", str(folder / "out")),
    )
    table = pd.read_csv(folder / "out" / "budgets.csv")
    assert list(table["budget"]) == [20, 400]
    assert table["value"].is_monotonic_increasing
    for number, plan in enumerate(told["plans"], 1):  # type: ignore[arg-type, var-annotated]
        coupons = pd.read_csv(folder / "out" / f"budget_{number}" / "coupons.csv")
        assert coupons["expected_cost"].sum() == pytest.approx(plan["split"]["coupons"]["spend"], abs=1e-3)
        assert (folder / "out" / f"budget_{number}" / "promotions.csv").exists()
        assert sum(part["spend"] for part in plan["split"].values()) <= plan["budget"] + 1e-6
        assert "one more" in plan["words"] or "larger than what pays" in plan["words"]
    assert "<svg" in (folder / "out" / "budget.html").read_text()


def test_a_budget_without_a_way_of_spending_is_refused(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["budget", "--budgets", "5", "--set", "log.level=error"])
    assert isinstance(done.exception, OfferwrightError)
    assert "no way of spending" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("markdown nothing.csv", "the table has no rows"),
        ("promotions products.csv --options none.csv", "the table has no rows; give one for each option"),
        ("markdown dearer.csv", "as if a higher price sold more"),
        ("budget --budgets , --coupons products.csv", "--budgets names no amount"),
        ("budget --budgets 5,inf --coupons products.csv", "give finite numbers"),
        ("promotions products.csv --options options.csv --budget nan", "no finite number"),
        ("markdown stock.csv --seconds nan", "no finite number"),
        ("markdown stock.csv --ladder nan", "give finite numbers"),
        ("explore --change -1", "range"),
        ("explore --weeks inf", "no finite number"),
        ("frontier --levels 0.1,nan", "give finite numbers"),
        ("frontier --take nan", "no finite number"),
        ("allocate stock.csv --budget inf", "no finite number"),
    ],
)
def test_what_is_no_input_is_refused_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, says: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "nothing.csv").write_text(STOCK.splitlines()[0] + "\n")
    (folder / "none.csv").write_text(OPTIONS.splitlines()[0] + "\n")
    (folder / "dearer.csv").write_text(STOCK.replace("-2.2", "2.2"))
    assert run_command([*arguments.split(), "--set", f"data.home={folder / 'home'}"]) == 2
    assert says in capsys.readouterr().err
