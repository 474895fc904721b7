"""`offerwright allocate` means the same whether the table fits into memory or is worked through in chunks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from api.cli import run_command

LIMITS = (
    "--budget 150 --segment-budget a=60 --min-sent 50 --max-sent 140 --offer-cap o1=12 --contact-limit 3 "
    "--exclusive o1,o2 --explore 0.1 --parity sex --seconds 60 --json"
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of its own with a table of values in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    n, offers = 600, ("o1", "o2", "o3")
    pd.DataFrame(
        {
            "customer_id": np.repeat(np.arange(n), 3),
            "offer_id": np.tile(offers, n),
            "profit": rng.gamma(2, 1, 3 * n) - 1,
            "cost": rng.gamma(2, 0.5, 3 * n),
            "segment": np.repeat(rng.choice(["a", "b"], n), 3),
            "contacts": np.repeat(rng.integers(0, 4, n), 3),
            "held": rng.random(3 * n) < 0.2,
            "sex": np.repeat(rng.choice(["f", "m"], n), 3),
        }
    ).to_parquet("values.parquet")
    return tmp_path


@pytest.fixture(params=["memory", "chunks"])
def road(request, monkeypatch):
    if request.param == "chunks":
        monkeypatch.setattr("api.commands.allocate.ROW_BYTES", 10**12)
    return request.param


def test_every_option_is_obeyed(home, road, capsys):
    assert run_command(["allocate", "values.parquet", *LIMITS.split(), "--out", "out.csv"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 50 <= told["sent"] <= 140
    assert told["spend"] <= 150
    assert told["parity"]["attribute"] == "sex"
    assert told["gap"] < 0.01
    written = pd.read_csv("out.csv", dtype={"offer_id": str}, keep_default_na=False)
    assert list(written.columns) == ["customer_id", "offer_id", "profit", "cost", "explored", "propensity"]
    assert written["explored"].sum() == told["explored"] > 0
    assert (written["offer_id"] == "o1").sum() <= 12
    assert (written["offer_id"] != "").sum() == told["sent"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("--exclusive o1,", 2, "OFFER,OFFER"),
        ("--exclusive o1,o9", 2, "offer 'o9' is not in the table; it has: o1, o2, o3"),
        ("--offer-cap o1=-1", 2, "OFFER=CUSTOMERS"),
        ("--budget nan", 2, "no finite number"),
        ("--min-sent 9 --max-sent 8", 2, "min_sent = 9 is above max_sent = 8"),
        ("--min-sent 600 --contact-limit 1", 3, "at most"),
    ],
)
def test_what_cannot_be_is_refused_in_one_block(home, road, capsys, options, status, said):
    assert run_command(["allocate", "values.parquet", *options.split(), "--out", "out.csv"]) == status
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert [found.name for found in home.iterdir() if found.name != ".offerwright"] == ["values.parquet"]


def test_no_time_still_gives_a_plan_that_says_so(home, road, capsys):
    assert run_command(["allocate", "values.parquet", "--budget", "80", "--seconds", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "time_limit"
    assert told["spend"] <= 80
    assert told["bound"] >= told["objective"]


def test_what_people_read_is_no_dump(home, road, capsys):
    words = [word for word in LIMITS.split() if word != "--json"]
    assert run_command(["allocate", "values.parquet", *words]) == 0
    told = capsys.readouterr().out
    for strange in ("np.", "{", "None"):
        assert strange not in told, told
    assert [line.split()[0] for line in told.splitlines()[-2:]] == ["f", "m"], "a line for each group"


def test_a_column_of_words_is_named_with_its_table(home, road, capsys):
    pd.read_parquet("values.parquet").assign(profit="much").to_parquet("words.parquet")
    assert run_command(["allocate", "words.parquet", "--budget", "20"]) == 2
    assert "words.parquet: column profit holds no numbers" in capsys.readouterr().err
