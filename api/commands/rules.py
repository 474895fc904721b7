"""`offerwright rules check`: a file of rules, held against a shop before anything is proposed under it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.options import as_json, example, print_json, with_settings, with_source

if TYPE_CHECKING:
    from api.rule_check import RuleCheck, RuleCost
    from engine.settings import Settings


@click.group()
def rules() -> None:
    """Look at business rules before anything is proposed under them."""


@rules.command(epilog=example("offerwright rules check --rules rules.yaml --data my_shop/"))
@click.option(
    "--rules",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of rules [default: what pricing.rules names].",
)
@click.option("--data", metavar="NAME_OR_DIR", help="Data set, folder or database URL [default: data.source].")
@as_json
@with_settings
def check(settings: Settings, file: Path | None, data: str | None, as_json: bool) -> None:
    """Say what is wrong with a file of rules, which rules contradict each other, and what each one binds and costs.

    What a rule costs is the gain that the best prices would have more without it, all other rules kept. Leaves with
    exit status 2 if a rule cannot be read or names what the shop does not have, with 3 if no prices keep all rules.
    """
    from api.price_stage import pose_prices
    from api.rule_check import check_rules_of
    from api.show import shown_progress
    from engine.errors import ConfigurationError
    from engine.progress import Stopwatch
    from engine.sources import open_shop

    settings = with_rules(with_source(settings, data=data), file)
    if settings.pricing.rules is None:
        raise ConfigurationError("there are no rules to check; name a file with --rules FILE or set pricing.rules")
    with shown_progress(sys.stderr) as progress:
        watch = Stopwatch(progress)
        with watch.stage("load"):
            shop = open_shop(settings.data.source, settings, watch.listener)
        posed = pose_prices(shop, settings, watch)
        with watch.stage("rules"):
            found = check_rules_of(posed, settings, watch.listener)
    if as_json:
        print_json(_record(found))
    else:
        _print(found, settings.data.currency)
    if found.conflict is not None:
        raise click.exceptions.Exit(3)


def with_rules(settings: Settings, file: Path | None) -> Settings:
    """Put --rules over what the settings say."""
    if file is None:
        return settings
    return settings.model_copy(update={"pricing": settings.pricing.model_copy(update={"rules": str(file)})})


def _record(found: RuleCheck) -> dict[str, Any]:
    return vars(found) | {
        "remarks": [reason.english() for reason in found.remarks],
        "conflict": found.conflict.record() if found.conflict else None,
    }


def _print(found: RuleCheck, currency: str) -> None:
    for remark in found.remarks:
        click.echo(remark.english())
    if found.conflict is not None:
        _print_conflict(found)
        return
    click.echo(f"{'rule':<44} {'products':>8} {'bound':>6} {'today':>6}  cost, {currency}")
    for one in found.rules:
        soft = "" if one.hard else " (soft)"
        name = (one.name + soft) if len(one.name + soft) <= 44 else (one.name + soft)[:43] + "…"
        click.echo(f"{name:<44} {one.products:>8,} {one.bound:>6,} {one.broken_today:>6,}  {_cost(one)}")
    click.echo(
        f"the best prices gain {found.gain or 0:,.0f} {currency} under these rules and {found.gain_without or 0:,.0f} "
        "under the settings alone\n"
        "(bound: products kept from a better price; today: products whose price of today breaks the rule)"
    )


def _cost(one: RuleCost) -> str:
    if one.cost is None or one.cost_at_most is None:
        return "no plan was found without it"
    if round(one.cost) == round(one.cost_at_most):
        return f"{one.cost:,.0f}"
    return f"{one.cost:,.0f} (at most {one.cost_at_most:,.0f})"


def _print_conflict(found: RuleCheck) -> None:
    conflict = found.conflict
    if conflict is None:
        return
    click.echo(conflict.reason.english())
    for name, owner in zip(conflict.rules, conflict.owners, strict=True):
        click.echo(f"  {name}" + (f" (owner: {owner})" if owner else ""))
    click.echo("cheapest way out:" if conflict.relaxations else "no way out was found in time")
    for step in conflict.relaxations:
        click.echo(f"  {step.sentence.english()}")
