"""The command line says what it did, refuses in one readable block, and leaves with the promised status."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from store_examples import make_proposal

from api.cli import COMMANDS, run_command
from engine.errors import DataError, InfeasibleError, StorageError
from engine.proposal import State
from engine.store import open_store

HEAVY = ("xgboost", "sklearn", "pyomo", "statsmodels", "numba", "pandas", "sqlalchemy", "flask")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cycle(monkeypatch):
    """A cycle that answers at once; `told` is what it was asked for."""
    told = {}

    def run_cycle(settings, **asked):
        told.update(asked, settings=settings)
        progress = asked["progress"]
        progress.begin("load")
        progress.advance(0.5)
        progress.end()
        if isinstance(told.get("answer"), Exception):
            raise told["answer"]
        return told.get("answer") or make_proposal()

    monkeypatch.setattr("api.cycle.run_cycle", run_cycle)
    return told


def store_of(home):
    return open_store(f"sqlite:///{home / '.offerwright' / 'offerwright.db'}")


def test_help_answers_without_loading_what_is_heavy():
    code = (
        "import sys; from api.cli import run_command; status = run_command(['--help']);"
        f"print([name for name in {HEAVY} if name in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_run_hands_on_what_was_asked_and_tells_the_result(home, cycle, capsys):
    arguments = ["run", "--data", "my: shop#1", "--seed", "7", "--only", "prices", "--out", "result"]
    assert run_command([*arguments, "--set", "pricing.max_change=0.05"]) == 0
    assert cycle["settings"].data.source == "my: shop#1"
    assert cycle["settings"].seed == 7
    assert cycle["settings"].pricing.max_change == 0.05
    assert cycle["only"] == ("prices",)
    assert cycle["out"].name == "result"
    assert cycle["created_by"].startswith("cli:")
    assert cycle["now"].utcoffset().total_seconds() == 0
    shown = capsys.readouterr()
    assert "Proposal P1 · complete_journey · 8 weeks · draft" in shown.out
    assert "Promised gain" in shown.out
    assert "120.50 USD, 90 % interval 20.00 USD … 210.00 USD" in shown.out
    assert shown.err.split()[0] == "load", "progress is told on standard error, a line for each stage"


def test_run_can_answer_in_json_alone(home, cycle, capsys):
    assert run_command(["run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["promised_gain"] == 120.5


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("products.csv, column price, row 3: negative"), 2),
        (InfeasibleError("min_margin and max_change leave no price; lower pricing.min_margin to 0.31"), 3),
        (StorageError("out/prices.csv: not written (No space left on device)"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "out/x.parquet"), 2),
        (RuntimeError("something else"), 1),
    ],
)
def test_errors_are_one_readable_block_with_their_status(home, cycle, capsys, error, status):
    cycle["answer"] = error
    assert run_command(["run"]) == status
    shown = capsys.readouterr()
    assert str(error.args[-1]) in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert run_command(["run", "--debug"]) == status
    assert "Traceback" in capsys.readouterr().err


def test_a_stored_infeasible_proposal_leaves_with_three(home, cycle, capsys):
    cycle["answer"] = make_proposal(state=State.INFEASIBLE)
    assert run_command(["run"]) == 3


def test_stopping_by_hand_leaves_with_130(home, cycle, capsys):
    cycle["answer"] = None

    def stop(*_, **__):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.cycle.run_cycle", stop)
        assert run_command(["run"]) == 130
    assert "not stored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--set", "pricing.max_chnage=0.1"], "did you mean 'pricing.max_change'"),
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "--seed", "-1"], "--seed"),
        (["rum"], "No such command"),
        (["allocate", "values.csv"], "does not exist"),
        (["jobs", "run", "reoptimize"], "there are: reoptimise"),
        (["user", "add", "ana", "--role", "boss"], "'viewer', 'analyst', 'approver', 'admin'"),
    ],
)
def test_what_is_mistyped_is_refused_with_what_would_do(home, capsys, arguments, says):
    assert run_command(arguments) == 2
    assert says in capsys.readouterr().err


def test_data_check_lists_every_fault_and_refuses(home, capsys):
    shop = home / "shop"
    shop.mkdir()
    (shop / "products.csv").write_text("product_id,unit_cost\n1,-2\n1,3\n")
    (shop / "sales_weekly.csv").write_text("product_id,week,units\n1,1,5\n")
    assert run_command(["data", "check", "shop"]) == 2
    assert "shop: cannot be used" in capsys.readouterr().out
    assert run_command(["data", "check", "shop", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert not told["usable"]
    assert all({"file", "column", "row", "value", "remedy"} <= set(fault) for fault in told["faults"])


def test_simulate_writes_a_shop_and_an_unknown_scenario_is_refused(home, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("engine.simulation.simulate_shop", lambda folder, **more: asked.append((folder.name, more)))
    assert run_command(["simulate", "shop", "--seed", "7", "--scenario", "sparse"]) == 0
    assert asked == [("shop", {"seed": 7, "scenario": "sparse"})]
    monkeypatch.undo()
    assert run_command(["simulate", str(home / "shop"), "--scenario", "sparce"]) == 2
    assert "sparse" in capsys.readouterr().err


def test_an_experiment_is_assigned_kept_and_read_beside_its_promise(home, capsys):
    rows = "".join(f"c{i}\n" for i in range(2000))
    (home / "customers.csv").write_text("customer_id\n" + rows)
    upgrade = run_command(["db", "upgrade"])
    assert upgrade == 0
    with store_of(home) as store:
        store.save_proposal(make_proposal())
    unit = ["--unit", "customer_id", "--name", "spring"]
    assign = ["experiment", "assign", "customers.csv", "--salt", "s1", "--out", "assigned.csv", *unit]
    assert run_command([*assign, "--proposal", "P1"]) == 0
    lines = (home / "assigned.csv").read_text().splitlines()
    assert lines[0] == "customer_id,variant"
    profits = [f"{line},{int(line[-1]) + i % 5}" for i, line in enumerate(lines[1:])]
    (home / "outcomes.csv").write_text("customer_id,variant,profit\n" + "\n".join(profits) + "\n")
    capsys.readouterr()
    assert run_command(["experiment", "analyse", "outcomes.csv", "--metric", "profit", "--json", *unit]) == 0
    effect = json.loads(capsys.readouterr().out)["effects"][0]
    assert effect["decision"] == "better"
    with store_of(home) as store:
        (kept,) = store.experiments.of_proposal("P1")
        assert kept.reading["effects"][0]["estimate"] == effect["estimate"]
        assert kept.promise["promised_gain"] == 120.5
    assert run_command(assign) == 2, "a name is taken once"
    assert run_command(["experiment", "analyse", "outcomes.csv", "--metric", "revenue", *unit[:2]]) == 2
    assert "no column revenue" in capsys.readouterr().err


def test_users_and_tokens_are_let_in_by_command(home, capsys):
    assert run_command(["user", "add", "mei", "--role", "approver", "--json"]) == 0
    link = json.loads(capsys.readouterr().out)["link"]
    assert run_command(["user", "token", "export", "--days", "1"]) == 0
    token = capsys.readouterr().out.strip()
    now = datetime.now(UTC)
    with store_of(home) as store:
        assert store.accounts.look_up_link(link.rpartition("/")[2], now=now).user_name == "mei"
        assert store.accounts.token(token, now=now).name == "token:export"
    assert run_command(["user", "token", "export", "--revoke"]) == 0
    with store_of(home) as store:
        assert store.accounts.token(token, now=now) is None


def test_the_store_is_verified_by_command(home, capsys):
    assert run_command(["db", "upgrade"]) == 0
    with store_of(home) as store:
        store.save_proposal(make_proposal())
        with store._database.write() as connection:
            connection.exec_driver_sql("UPDATE proposals SET state = 'approved'")
    capsys.readouterr()
    assert run_command(["db", "verify"]) == 1
    assert "its state approved" in capsys.readouterr().err


def test_sigterm_leaves_with_143_and_stores_nothing(home):
    code = (
        "import api.cycle, time, sys\n"
        "def stuck(*_, **__):\n    print('at work', flush=True); time.sleep(60)\n"
        "api.cycle.run_cycle = stuck\n"
        "from api.cli import main\nmain(['run'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=home)
    assert process.stdout.readline() == b"at work\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    process.stdout.close()
    assert not (home / "out").exists()
