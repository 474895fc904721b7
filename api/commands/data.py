"""`offerwright data check` and `offerwright simulate`: the data that go in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.options import as_json, example, print_json, with_settings, with_source

if TYPE_CHECKING:
    from engine.settings import Settings
    from engine.shop import Fault


@click.group()
def data() -> None:
    """Look at a data set before anything is made of it."""


@data.command(epilog=example("offerwright data check my_shop/"))
@click.argument("source", metavar="DIR", required=False)
@as_json
@with_settings
def check(settings: Settings, source: str | None, as_json: bool) -> None:
    """Validate a data set against the contract and list every fault with its remedy.

    DIR is a folder, the name of a data set or a database URL; without it, data.source is checked. Leaves with exit
    status 2 if a fault refuses the data set.
    """
    from engine.sources import check_data

    settings = with_source(settings, data=source)
    faults = check_data(settings.data.source, settings)
    refusing = sum(fault.refuses for fault in faults)
    if as_json:
        print_json({"source": settings.data.source, "usable": not refusing, "faults": faults})
    else:
        _print_faults(settings.data.source, faults)
    if refusing:
        raise click.exceptions.Exit(2)


def _print_faults(source: str, faults: tuple[Fault, ...]) -> None:
    for fault in sorted(faults, key=lambda fault: not fault.refuses):
        mark = click.style("refused ", fg="red") if fault.refuses else click.style("set aside", fg="yellow")
        click.echo(f"{mark}  {fault.sentence()}")
    refusing = sum(fault.refuses for fault in faults)
    verdict = f"cannot be used: {refusing} fault(s) refuse it" if refusing else "can be used"
    click.echo(f"{source}: {verdict}; {len(faults) - refusing} remark(s)")


@click.command(
    epilog=example("offerwright simulate shop/ --seed 7 --scenario price_experiments", "offerwright run --data shop/")
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the shop [default: seed].")
@click.option("--scenario", default="default", show_default=True, help="What kind of shop; an unknown name lists them.")
@as_json
@with_settings
def simulate(settings: Settings, folder: Path, seed: int | None, scenario: str, as_json: bool) -> None:
    """Write a shop whose truth is known, in the data contract, with its truth beside it."""
    from engine.simulation import simulate_shop

    seed = settings.seed if seed is None else seed
    simulate_shop(folder, seed=seed, scenario=scenario)
    if as_json:
        print_json({"folder": folder, "seed": seed, "scenario": scenario})
    else:
        click.echo(f"wrote {folder} (scenario {scenario}, seed {seed}); next: offerwright run --data {folder}")
