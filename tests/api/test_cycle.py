"""The main job as a whole, on a small simulated shop: the real command in its own process."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from engine.settings import load_settings
from engine.simulation import simulate_shop
from engine.store import open_store

OFFERWRIGHT = str(Path(sys.executable).with_name("offerwright"))
QUICK = ("demand.trees=20", "demand.folds=2", "demand.backtest=false", "demand.draws=60", "demand.min_weeks_sold=8")
QUIET = "log.level=error"
STAGES = (
    "load",
    "panel",
    "features",
    "demand level",
    "price response",
    "halves",
    "coupon response",
    "coupon plan",
    "price plan",
    "evidence",
    "store",
)
TOLD_RUN = """
import os, shutil, signal, sys
from contextlib import contextmanager
from pathlib import Path
from api import show
from api.cli import main

class Told:
    def advance(self, share): pass
    def end(self): pass

class Dying(Told):
    def __init__(self, last):
        self.last = last
    def begin(self, stage):
        if stage == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

class Copying(Told):
    def __init__(self, kept, *folders):
        self.kept, self.folders = Path(kept), [Path(folder) for folder in folders]
    def begin(self, stage):
        (self.kept / stage).mkdir(parents=True)
        for folder in self.folders:
            if folder.exists():
                shutil.copytree(folder, self.kept / stage / folder.name, ignore=shutil.ignore_patterns("cache"))

listener = {"dying": Dying, "copying": Copying}[sys.argv[1]](*sys.argv[2].split(","))

@contextmanager
def told(stream):
    yield listener

show.shown_progress = told
sys.argv = ["offerwright", *sys.argv[3:]]
main()
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cycle") / "shop"
    simulate_shop(folder, seed=3, scenario="default", products=40, weeks=60, customers=300, categories=4)
    return folder


def arguments(shop, home, out, *more):
    sets = [f"data.home={home}", *QUICK, QUIET, *more]
    return ["run", "--data", str(shop), "--out", str(out), *[part for text in sets for part in ("--set", text)]]


def run(shop, home, out, *more, **options):
    command = [OFFERWRIGHT, *arguments(shop, home, out, *more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def proposals(home):
    """What the store holds, after its chain of audit was found whole."""
    with open_store(load_settings(None, [f"data.home={home}"]).store_url) as store:
        assert not store.check_audit().faults
        return store.proposals().items


@pytest.fixture(scope="module")
def stages(shop, tmp_path_factory):
    """A whole run, and what the disk held when each of its stages began: what a kill there leaves."""
    folder = tmp_path_factory.mktemp("stages")
    home, out, kept = folder / "home", folder / "out", folder / "kept"
    done = told_run("copying", f"{kept},{home},{out}", *arguments(shop, home, out))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in kept.iterdir()} >= set(STAGES)
    return folder


def told_run(how, what, *command):
    """The command in a process of its own that is told of its stages."""
    return subprocess.run(
        [sys.executable, "-c", TOLD_RUN, how, what, *command], capture_output=True, timeout=300, check=False
    )


def test_the_same_command_twice_gives_the_same_plan_byte_for_byte(shop, stages, tmp_path):
    first, second = stages / "out", tmp_path / "second"
    done = run(shop, tmp_path / "home", second)
    assert done.returncode == 0, done.stderr
    for name in ("prices.csv", "coupons.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    one, other = (json.loads((out / "summary.json").read_text()) for out in (first, second))
    assert one["fingerprints"] == other["fingerprints"]
    assert one["promised_gain_low"] <= one["promised_gain"] <= one["promised_gain_high"]
    assert abs(one["price"]["index_change"]) <= 0.002 + 1e-12


@pytest.mark.parametrize("stage", STAGES)
def test_before_the_end_of_any_stage_store_and_folder_are_as_they_were(stages, stage):
    on_disk = stages / "kept" / stage
    assert not list(on_disk.glob("out/*"))
    if stage != "load":
        assert not proposals(on_disk / "home")


def test_a_run_after_a_killed_one_goes_through(shop, tmp_path):
    home, out = tmp_path / "home", tmp_path / "out"
    killed = told_run("dying", "store", *arguments(shop, home, out))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(out.glob("*"))
    assert not proposals(home)
    done = run(shop, home, out)
    assert done.returncode == 0, done.stderr
    assert len(proposals(home)) == 1


def _small_files():
    """Let no file grow past 20 kB, as on a disk that fills while a table is written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_disk_that_fills_is_reported_and_leaves_nothing_half_written(shop, tmp_path):
    out = tmp_path / "out"
    done = run(shop, tmp_path / "home", out, preexec_fn=_small_files)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "not written" in done.stderr or "disk" in done.stderr
    assert not list(out.glob("*"))


def test_prices_alone_speak_of_prices_alone(shop, tmp_path):
    out = tmp_path / "out"
    command = [*arguments(shop, tmp_path / "home", out), "--only", "prices"]
    done = subprocess.run([OFFERWRIGHT, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["coupons"] is None
    assert (out / "coupons.csv").read_text().count("\n") == 1


def test_an_offer_that_nobody_was_ever_sent_is_refused_with_those_that_exist(shop, tmp_path):
    done = run(shop, tmp_path / "home", tmp_path / "out", "coupons.offers=free_lunch")
    assert done.returncode == 2
    assert "free_lunch" in done.stderr
    assert "offer_A" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_index_band_holds_by_the_figures_of_the_table_itself(shop, tmp_path):
    out = tmp_path / "out"
    done = run(
        shop, tmp_path / "home", out, "pricing.endings=[0.99,0.49]", "pricing.max_changed=7", "coupons.budget=15"
    )
    assert done.returncode == 0, done.stderr
    lines = pd.read_csv(out / "prices.csv")
    moved = lines[lines["proposed_price"] != lines["current_price"]]
    revenue = lines["units_current"] * lines["current_price"]
    index = (revenue * (lines["proposed_price"] / lines["current_price"] - 1)).sum() / revenue.sum()
    assert abs(index) <= 0.002 + 1e-9
    assert len(moved) <= 7
    assert set((moved["proposed_price"] * 100).round().astype(int) % 100) <= {99, 49}
    assert (moved["proposed_price"] / moved["current_price"] - 1).abs().max() <= 0.1 + 1e-9
    assert pd.read_csv(out / "coupons.csv")["expected_cost"].sum() <= 15 + 1e-6
