"""Plans over weeks are kept as proposals: approved and exported like others, planned again each week with what sold."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_plan_commands import OPTIONS, PRODUCTS, STOCK

from api.cli import cli
from api.plan_tables import SOLD, MarkdownRules, PlanTable, after_sales, markdown_problem, read_sold
from api.week_lines import CALENDAR_COLUMNS, PATH_COLUMNS
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
    assert ("week 1<" if language == "en" else "第 1 周<") in text
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


@pytest.mark.parametrize("kind", ["markdown", "promotions"])
def test_a_plan_over_weeks_promises_with_an_interval_everywhere(folder: Path, kind: str) -> None:
    told = markdown(folder) if kind == "markdown" else calendar(folder)
    assert told["gain_low"] < told["gain"] < told["gain_high"]  # type: ignore[operator]
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        proposal = store.proposal(str(told["proposal_id"]))
    summary = proposal.summary
    assert (summary["promised_gain_low"], summary["promised_gain_high"]) == (told["gain_low"], told["gain_high"])
    assert "with a chance of 90 % the gain lies between" in (folder / "out" / f"{kind}.html").read_text()
    table = pd.read_csv(folder / "out" / f"{kind}.csv")
    name = "sales" if kind == "markdown" else "units"
    assert (table[f"{name}_low"] <= table[f"expected_{name}"] + 1e-9).all()
    assert (table[f"expected_{name}"] <= table[f"{name}_high"] + 1e-9).all()
    assert (table[f"{name}_low"] < table[f"{name}_high"]).any()


def test_surer_tables_promise_closer(folder: Path) -> None:
    wide = calendar(folder)
    for table, errors in (("products", "0.05"), ("options", "0.05")):
        frame = pd.read_csv(folder / f"{table}.csv").assign(level_se=errors, lift_se=errors)
        frame.to_csv(folder / f"{table}.csv", index=False)
    close = calendar(folder)
    assert close["gain"] == wide["gain"], "the calendar itself is planned for what is expected"
    widths = [float(str(one["gain_high"])) - float(str(one["gain_low"])) for one in (wide, close)]
    assert widths[1] < widths[0] / 2
    assert "nobody says how uncertain" not in (folder / "out" / "promotions.html").read_text()
    frame.assign(lift_se=-0.1).to_csv(folder / "options.csv", index=False)
    tables = (str(folder / "products.csv"), "--options", str(folder / "options.csv"))
    assert "lift_se, row 1: -0.1 is below 0" in str(run(folder, "promotions", *tables, code=2)["said"])


def test_programs_read_plans_over_weeks_and_plan_again(folder: Path, store, bearer) -> None:
    for told in (markdown(folder), calendar(folder)):
        with open_store(f"sqlite:///{folder / 'store.db'}") as made:
            store.save_proposal(made.proposal(str(told["proposal_id"])))
    listed = bearer["viewer"].get("/api/v1/week-plans").json
    assert listed["total"] == 2
    route = f"/api/v1/week-plans/{listed['items'][1]['proposal_id']}"
    one = bearer["viewer"].get(route).json
    assert (one["kind"], one["first_week"], one["weeks"]) == ("markdown", 1, 4)
    assert one["gain_low"] < one["gain"] < one["gain_high"]
    assert [set(line) for line in one["lines"][:1]] == [set(PATH_COLUMNS)]
    prices = {line["product_id"]: line["price"] for line in one["lines"] if line["week"] == 1}
    sold = [{"product_id": name, "week": 1, "price": price, "sold": 6, "stock": 50} for name, price in prices.items()]
    assert bearer["viewer"].post(f"{route}/replan", json={"sold": sold}).status_code == 403
    draft = bearer["analyst"].post(f"{route}/replan", json={"sold": sold}, headers={"Idempotency-Key": "w1"}).json
    assert (
        bearer["analyst"].post(f"{route}/replan", json={"sold": sold}, headers={"Idempotency-Key": "w1"}).json == draft
    )
    again = bearer["viewer"].get(f"/api/v1/week-plans/{draft['proposal_id']}").json
    assert (again["first_week"], again["weeks"], again["replaces"]) == (2, 3, one["proposal_id"])
    assert [row["sold"] for row in again["sold"]] == [6, 6]
    assert store.proposals().total == 3
    calendar_route = f"/api/v1/week-plans/{listed['items'][0]['proposal_id']}"
    ran = [{"product_id": name, "week": 1, "sold": 200} for name in ("milk", "butter", "bread")]
    assert bearer["analyst"].post(f"{calendar_route}/replan", json={"sold": ran}).json["state"] == "draft"
    for bad, says in (
        ({"sold": []}, "sold"),
        ({"sold": sold[:1]}, "no row for product"),
        ({"sold": [{"product_id": "coat"}]}, "no column"),
        ({"sold": sold, "seconds": 900}, "seconds"),
        ({"sold": [{**row, "price": "cheap"} for row in sold]}, "cheap"),
    ):
        refused = bearer["analyst"].post(f"{route}/replan", json=bad)
        assert refused.status_code == 422, refused.text
        assert says in refused.json["detail"]
    assert bearer["viewer"].get("/api/v1/week-plans/P9").status_code == 404


def test_what_holds_no_plan_over_weeks_is_none(bearer, stored) -> None:
    assert bearer["viewer"].get("/api/v1/week-plans").json["total"] == 0
    for method, path in (("get", ""), ("post", "/replan")):
        body = {"json": {"sold": [{"product_id": "a"}]}} if method == "post" else {}
        answer = getattr(bearer["analyst"], method)(f"/api/v1/week-plans/P1{path}", **body)
        assert answer.status_code == 404
        assert "holds no plan over weeks" in answer.json["detail"]


def test_calendars_stored_before_they_had_draws_are_still_read(folder: Path, store, people, bearer) -> None:
    told = calendar(folder)
    with open_store(f"sqlite:///{folder / 'store.db'}") as made:
        proposal = made.proposal(str(told["proposal_id"]))
    weeks = dict(proposal.evidence["weeks"])
    weeks |= {"gain_low": None, "gain_high": None, "lines": [line[:6] for line in weeks["lines"]]}
    weeks["inputs"] = {name: value for name, value in weeks["inputs"].items() if name not in ("draws", "seed")}
    store.save_proposal(replace(proposal, evidence={**proposal.evidence, "weeks": weeks}))
    page = f"/proposals/{proposal.proposal_id}"
    assert people["viewer"].get(page).status_code == 200
    old = pd.read_csv(io.StringIO(people["viewer"].get(f"{page}/weeks.csv").text))
    assert list(old) == list(CALENDAR_COLUMNS[:6])
    assert bearer["viewer"].get(f"/api/v1/week-plans/{proposal.proposal_id}").json["gain_low"] is None
    ran = [{"product_id": name, "week": 1, "sold": 200} for name in ("milk", "butter", "bread")]
    again = bearer["analyst"].post(f"/api/v1/week-plans/{proposal.proposal_id}/replan", json={"sold": ran})
    assert again.json["summary"]["promised_gain_low"] < again.json["summary"]["promised_gain_high"]


def test_a_command_says_in_words_what_its_figures_mean(folder: Path) -> None:
    given = ("markdown", str(folder / "stock.csv"), "--weeks", "2", "--draws", "40", "--out", str(folder / "out"))
    done = CliRunner().invoke(cli, [*given, "--set", "log.level=error", "--set", f"data.home={folder / 'home'}"])
    assert done.exit_code == 0, done.output
    figures = dict(line.split(None, 1) for line in done.stdout.splitlines() if not line.endswith("."))
    sentences = [line for line in done.stdout.splitlines() if line.endswith(".")]
    assert sentences[0].startswith("The path brings ")
    assert f"{float(figures['objective'].replace(',', '')):,.0f}" in sentences[0]
