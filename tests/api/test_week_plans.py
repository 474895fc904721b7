"""Plans over weeks are kept as proposals: approved and exported like others, planned again each week with what sold."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_plan_commands import OPTIONS, PRODUCTS, STOCK

from api.cli import cli
from api.plan_tables import SOLD, MarkdownRules, PlanTable, after_sales, markdown_problem, read_sold
from api.week_plans import MarkdownInputs, kept_plan_of
from engine.errors import ConflictError, InputError
from engine.proposal import State
from engine.store import open_store
from optimizers.markdown import plan_markdown
from optimizers.markdown.gains import draw_gains


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("stock", STOCK), ("products", PRODUCTS), ("options", OPTIONS)):
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str, code: int = 0) -> dict[str, object]:
    home = ("--set", f"data.home={folder / 'home'}", "--set", f"store.url=sqlite:///{folder / 'store.db'}")
    done = CliRunner().invoke(cli, [*arguments, "--set", "log.level=error", *home, "--json"])
    if code and isinstance(done.exception, InputError):  # the program's edge turns it into exit status 2
        return {"said": str(done.exception)}
    assert done.exit_code == code, done.output
    told: dict[str, object] = json.loads(done.stdout) if code == 0 else {"said": done.output}
    return told


def markdown(folder: Path, *more: str) -> dict[str, object]:
    out = ("--weeks", "4", "--max-steps", "2", "--draws", "60", "--out", str(folder / "out"))
    return run(folder, "markdown", str(folder / "stock.csv"), *out, "--store", *more)


def calendar(folder: Path) -> dict[str, object]:
    tables = (str(folder / "products.csv"), "--options", str(folder / "options.csv"))
    return run(
        folder, "promotions", *tables, "--weeks", "6", "--budget", "900", "--out", str(folder / "out"), "--store"
    )


def sell(folder: Path, weeks: list[int], **columns: list[object]) -> str:
    """What sold of the markdown in these weeks, at the prices planned."""
    lines = pd.read_csv(folder / "out" / "markdown.csv", dtype={"product_id": str})
    lines[lines["week"].isin(weeks)].assign(**columns).to_csv(folder / "sold.csv", index=False)
    return str(folder / "sold.csv")


def test_a_markdown_is_kept_with_all_that_it_was_made_of(folder: Path) -> None:
    told = markdown(folder)
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        proposal = store.proposal(str(told["proposal_id"]))
        assert store.check_audit().faults == ()
    assert proposal.state is State.DRAFT
    summary = proposal.summary
    assert summary["promised_gain"] == pytest.approx(float(str(told["objective"])) - float(str(told["kept"])))
    assert summary["promised_gain_low"] < summary["promised_gain"] < summary["promised_gain_high"]
    inputs = MarkdownInputs.of(kept_plan_of(proposal, "markdown").inputs)
    rules = MarkdownRules(4, inputs.rules.ladder, max_steps=2)
    table = PlanTable.read(folder / "stock.csv", ("product_id",))
    again = markdown_problem(table, rules, draws=60, rng=np.random.default_rng(inputs.seed))
    assert np.array_equal(inputs.problem().own, again.own)
    assert np.array_equal(inputs.problem().ladder, again.ladder, equal_nan=True)
    with pytest.raises(ConflictError, match="holds no plan of this kind"):
        kept_plan_of(proposal, "promotions")


def test_week_after_week_the_plan_is_made_again_from_the_store(folder: Path) -> None:
    first = str(markdown(folder)["proposal_id"])
    sold = sell(folder, [1], sold=[5, 18], stock=[55, 82])
    whole = folder / "whole.csv"
    out = ("--out", str(folder / "out"))
    again = run(folder, "markdown", "--replan", first, "--sold", sold, "--store", *out)
    assert (again["weeks_over"], again["weeks_left"]) == (1, 3)
    history = (folder / "sold.csv").read_text()
    sold = sell(folder, [2], sold=[7, 20], stock=[48, 62])
    whole.write_text(history + (folder / "sold.csv").read_text().split("\n", 1)[1])
    third = run(folder, "markdown", "--replan", str(again["proposal_id"]), "--sold", sold, "--store", *out)
    assert (third["weeks_over"], third["weeks_left"]) == (2, 2), "the weeks before were kept with the plan"
    by_hand = run(folder, "markdown", "--replan", first, "--sold", str(whole), *out)
    assert by_hand["objective"] == third["objective"]
    assert by_hand["proposal_id"] is None, "nothing is stored unasked"
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        assert store.proposals().total == 3
        assert store.header(str(third["proposal_id"])).summary["replaces"] == again["proposal_id"]


def test_a_calendar_remembers_what_ran(folder: Path) -> None:
    first = str(calendar(folder)["proposal_id"])
    planned = pd.read_csv(folder / "out" / "promotions.csv")
    sold = folder / "sold.csv"
    sold.write_text("product_id,week,sold\nmilk,1,500\nbutter,1,160\nbread,1,290\n")
    out = ("--out", str(folder / "out"))
    again = run(folder, "promotions", "--replan", first, "--sold", str(sold), "--store", *out)
    assert (again["weeks_over"], again["weeks_left"]) == (1, 5)
    assert pd.read_csv(folder / "out" / "promotions.csv")["week"].min() >= 2
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        kept = kept_plan_of(store.proposal(str(again["proposal_id"])), "promotions")
    ran = {row["product_id"]: row["option"] for row in kept.sold}
    expected = planned[planned["week"] == 1].set_index("product_id")["option"].to_dict()
    assert {product: option for product, option in ran.items() if option} == expected
    sold.write_text("product_id,week,sold,option\nmilk,2,420,\nbutter,2,300,leaflet\nbread,2,300,nonsense\n")
    said = run(folder, "promotions", "--replan", str(again["proposal_id"]), "--sold", str(sold), *out, code=2)["said"]
    assert "'nonsense' is unknown" in str(said)
    sold.write_text("product_id,week,sold,option\nmilk,2,420,\nbutter,2,300,leaflet\nbread,2,300,\n")
    third = run(folder, "promotions", "--replan", str(again["proposal_id"]), "--sold", str(sold), *out)
    assert third["weeks_over"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("markdown",), "STOCK"),
        (("markdown", "--replan", "P1"), "--sold"),
        (("promotions",), "PRODUCTS"),
        (("promotions", "--replan", "P1"), "--sold"),
    ],
)
def test_what_is_missing_is_asked_for(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in str(run(folder, *arguments, code=2)["said"])


def test_gains_by_draw_average_to_the_gain_of_the_plan(folder: Path) -> None:
    table = PlanTable.read(folder / "stock.csv", ("product_id",))
    problem = markdown_problem(table, MarkdownRules(4), draws=300, rng=np.random.default_rng(2))
    plan = plan_markdown(problem)
    gains = draw_gains(problem, plan.rung, np.random.default_rng(0))
    assert gains.mean() == pytest.approx(plan.objective - plan.kept)
    sold = folder / "sold.csv"
    pd.DataFrame(
        {"product_id": ["coat", "0042"], "week": 1, "price": plan.price[:, 0], "sold": [9, 30], "stock": [51, 70]}
    ).to_csv(sold, index=False)
    left, _ = after_sales(problem, read_sold(sold, SOLD))
    weighed = plan_markdown(left)
    gains = draw_gains(left, weighed.rung, np.random.default_rng(0))
    assert gains.mean() == pytest.approx(weighed.objective - weighed.kept, rel=0.02)


@pytest.mark.parametrize("kind", ["markdown", "promotions"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_plan_over_weeks_has_a_page_a_report_a_table_and_a_life(folder, store, people, kind, language):
    told = markdown(folder) if kind == "markdown" else calendar(folder)
    with open_store(f"sqlite:///{folder / 'store.db'}") as made:
        store.save_proposal(made.proposal(str(told["proposal_id"])))
    page = f"/proposals/{told['proposal_id']}"
    people["analyst"].get(f"/language/{language}")
    text = people["analyst"].get(page).text
    assert text.count("<svg viewBox") >= 2, "the head's sign and the paths"
    assert "weeks.csv" in text
    assert "<svg" in people["analyst"].get(f"{page}/report").text
    assert people["analyst"].get("/proposals").status_code == 200
    table = pd.read_csv(io.StringIO(people["analyst"].get(f"{page}/weeks.csv").text), dtype={"product_id": str})
    written = pd.read_csv(folder / "out" / f"{kind}.csv", dtype={"product_id": str})
    pd.testing.assert_frame_equal(table, written)
    people["analyst"].post(f"{page}/submit", page=page)
    people["approver"].post(f"{page}/approve", page=page)
    assert store.header(str(told["proposal_id"])).state is State.APPROVED


def test_only_plans_over_weeks_have_that_table(people, stored):
    assert people["viewer"].get("/proposals/P1/weeks.csv").status_code == 404
