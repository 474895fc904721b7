"""`offerwright run`: one whole cycle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.options import as_json, current_time, example, operator, print_json, with_settings, with_source

if TYPE_CHECKING:
    from engine.settings import Settings


@click.command(
    epilog=example(
        "offerwright run",
        "offerwright run --data my_shop/ --out out/monday --set pricing.max_change=0.05 --set coupons.budget=500",
    )
)
@click.option("--data", metavar="NAME_OR_DIR", help="Data set, folder or database URL [default: data.source].")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out"),
    show_default=True,
    help="Folder for prices.csv, coupons.csv, summary.json and report.html.",
)
@click.option("--only", default="prices,coupons", show_default=True, help="What to propose, separated by a comma.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of everything random [default: seed].")
@as_json
@with_settings
def run(settings: Settings, data: str | None, out: Path, only: str, seed: int | None, as_json: bool) -> None:
    """Make a proposal for prices and coupons from a shop's data, and store it as a draft."""
    from api.cycle import run_cycle
    from api.show import result_block, shown_progress
    from engine.files import require_writable

    settings = with_source(settings, data=data, seed=seed)
    require_writable(out)
    parts = tuple(part.strip() for part in only.split(",") if part.strip())
    with shown_progress(sys.stderr) as progress:
        proposal = run_cycle(
            settings, only=parts, out=out, progress=progress, now=current_time(), created_by=operator()
        )
    if as_json:
        print_json(proposal.summary)
    else:
        click.echo(result_block(proposal, out, f"http://{settings.server.host}:{settings.server.port}"))
    if proposal.state == "infeasible":
        raise click.exceptions.Exit(3)
