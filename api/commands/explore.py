"""`offerwright explore`: which products are worth a price test, by what they would teach."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.options import Finite, as_json, example, print_json, with_settings, with_source

if TYPE_CHECKING:
    from engine.settings import Settings


@click.command(epilog=example("offerwright explore --data my_shop/ --max-tests 20 --budget 500"))
@click.option("--data", metavar="NAME_OR_DIR", help="Data set, folder or database URL [default: data.source].")
@click.option(
    "--max-tests", type=click.IntRange(min=0), default=20, show_default=True, help="Most products tested at a time."
)
@click.option("--budget", type=Finite(min=0), help="Most expected profit given up [default: no limit].")
@click.option("--weeks", type=Finite(min=0, min_open=True), default=4.0, show_default=True, help="Length of the tests.")
@click.option(
    "--change",
    type=Finite(min=-1, min_open=True),
    default=0.05,
    show_default=True,
    help="Price in the test half, as a share above today's.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("price_tests"),
    show_default=True,
    help="Folder for price_tests.csv.",
)
@as_json
@with_settings
def explore(
    settings: Settings,
    data: str | None,
    max_tests: int,
    budget: float | None,
    weeks: float,
    change: float,
    out: Path,
    as_json: bool,
) -> None:
    """Choose the products whose price is worth a test: information has a price.

    A test in half of the shop narrows the belief about an elasticity; what the better price then gains is weighed
    against what the test gives up. A product that is held because its response is not identified is freed by a test
    that identifies it. The tests themselves are designed with `offerwright experiment`.
    """
    from api.outputs import write_outputs
    from api.price_stage import pose_prices
    from api.price_tests import find_price_tests, price_test_table
    from api.show import shown_progress
    from engine.progress import Stopwatch
    from engine.sources import open_shop

    settings = with_source(settings, data=data)
    most = math.inf if budget is None else budget
    with shown_progress(sys.stderr) as progress:
        watch = Stopwatch(progress)
        with watch.stage("load"):
            shop = open_shop(settings.data.source, settings, watch.listener)
        posed = pose_prices(shop, settings, watch)
        with watch.stage("price tests"):
            found = find_price_tests(posed, settings, weeks=weeks, change=change, max_tests=max_tests, budget=most)
    write_outputs({"price_tests.csv": price_test_table(found)}, out)
    if as_json:
        print_json({**found.record(), "products": [line[0] for line in found.lines()], "out": out})
        return
    for line, row in zip(found.lines(), found.chosen, strict=True):
        click.echo(f"{line[0]:>14}  {line[1][:30]:<30}  {found.words(row).english()}")
    told = found.record()
    click.echo(f"{told['tests']} tests are worth {told['net']:,.0f}, and no choice more than {told['bound']:,.0f}")
