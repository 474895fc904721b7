"""`offerwright experiment design`: everything that is fixed before the first unit is assigned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.options import (
    alpha_option,
    as_json,
    current_time,
    example,
    metric_options,
    open_settled_store,
    operator,
    print_json,
    with_settings,
)
from api.commands.tables import read_shares

if TYPE_CHECKING:
    from api.experiment_designs import Past
    from engine.settings import Settings
    from experiments.design import Design


def _read_named_shares(_context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in texts:
        name, equals, share = text.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise click.BadParameter(f"{text!r}: write --{option.name} NAME=SHARE, for example returns=0.02")
    return shares


def _read_metrics(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> tuple[dict[str, Any] | None, ...]:
    return tuple(_read_rule(context, option, text) for text in texts)


def _read_rule(_context: click.Context, _option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        rule = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON ({error})") from error
    if not isinstance(rule, dict):
        raise click.BadParameter(f'{text!r}: write an object such as {{"country": "DE"}}')
    return rule


@click.command(
    epilog=example(
        "offerwright experiment design customers.csv --name spring --metric profit --effect 0.4 --covariate before",
        "offerwright experiment design --name prices-12 --proposal p-20261123-1a2b3c",
    )
)
@click.argument("history", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--name", required=True, help="Identifier under which the store keeps the experiment; seeds its split.")
@click.option("--proposal", "proposal_id", help="Proposal that the experiment tests; its promise sets the size.")
@click.option(
    "--part",
    type=click.Choice(["prices", "coupons"]),
    help="Part of the proposal that is tested [default: prices, if it changes any].",
)
@click.option(
    "--treatment",
    type=click.Choice(["price", "coupon", "recommendation", "other"]),
    default="other",
    show_default=True,
    help="What is tried; prices are never randomised over customers.",
)
@click.option(
    "--randomise",
    type=click.Choice(["customer", "product", "store", "time"]),
    default="customer",
    show_default=True,
    help="What is put in variants; time: a switchback of regions.",
)
@click.option("--unit", default="unit_id", show_default=True, help="Column of the unit's (or region's) identifier.")
@click.option("--metric", help="Column of HISTORY that decides.")
@metric_options
@click.option(
    "--declare",
    callback=_read_rule,
    metavar="JSON",
    help='More of the metric that decides, such as {"winsorise": {"high": 0.999}, "missing": "exclude"}.',
)
@click.option("--stratum", help="Column for post-stratification, known before the start.")
@click.option(
    "--also",
    multiple=True,
    callback=_read_metrics,
    metavar="JSON",
    help='Metric that is read and does not decide, such as {"kind": "quantile", "name": "p90", "column": "x", '
    '"level": 0.9}; repeatable.',
)
@click.option("--lower-is-better", is_flag=True, help="A fall of the metric is a gain.")
@click.option("--covariate", "covariates", multiple=True, help="Column from before, for CUPED; repeatable.")
@click.option("--cluster", help="Column of what is randomised together, such as the store.")
@click.option("--first-week", help="Column of the week in which a unit first turns up [default: all in week 1].")
@click.option("--effect", type=float, help="Smallest absolute effect for each unit that must not be missed.")
@click.option("--relative-effect", type=float, help="The same as a share of the mean, such as 0.02.")
@click.option(
    "--guardrail",
    "guardrails",
    multiple=True,
    metavar="COLUMN=SHARE",
    callback=_read_named_shares,
    help="Column that may not fall by more than this share; repeatable.",
)
@click.option(
    "--method",
    type=click.Choice(["fixed", "group_sequential", "always_valid"]),
    default="fixed",
    show_default=True,
    help="How it is read.",
)
@click.option("--looks", type=click.IntRange(2), default=5, show_default=True, help="Planned readings, unless fixed.")
@click.option(
    "--spending",
    type=click.Choice(["obrien_fleming", "pocock"]),
    default="obrien_fleming",
    show_default=True,
    help="Group sequential: how the error is spent over the readings; obrien_fleming decides late, pocock early.",
)
@click.option(
    "--weights",
    default="0.5,0.5",
    show_default=True,
    callback=read_shares,
    metavar="SHARE,SHARE…",
    help="Share of each variant, control first.",
)
@click.option("--coverage", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share that takes part.")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="LAYER=SHARE",
    callback=_read_named_shares,
    help="Layer of mutual exclusion, and how much of it is taken; once.",
)
@click.option(
    "--holdout",
    "holdouts",
    multiple=True,
    metavar="NAME=SHARE",
    callback=_read_named_shares,
    help="Units that are kept out of everything; repeatable.",
)
@click.option("--target", callback=_read_rule, metavar="JSON", help='Who takes part, such as {"country": "DE"}.')
@click.option(
    "--held-back",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of a proposal's customers who get no coupon.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    help="Two coupon policies share this money: split it, and the customers, into cells.",
)
@click.option("--cells", type=click.IntRange(4), default=50, show_default=True, help="Cells of a budget split.")
@click.option(
    "--weeks",
    type=click.IntRange(1),
    help="Weeks that products, stores or a budget split run; several readings need them [default, for a proposal's "
    "prices: the shortest time that shows the promise].",
)
@click.option(
    "--steps",
    type=click.IntRange(2),
    help="Switchback: steps of the test in each region [default: the fewest that show the effect].",
)
@click.option(
    "--period",
    "periods",
    multiple=True,
    type=click.IntRange(1),
    help="Switchback: steps of a period to consider; repeatable [default: all].",
)
@click.option(
    "--carry-over",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Switchback: longest number of steps for which the state before is still felt.",
)
@alpha_option()
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Chance of seeing the effect.",
)
@click.option(
    "--smallest-gain", type=float, default=0.0, show_default=True, help="Gain for each unit that a launch is worth."
)
@click.option(
    "--futility",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Stop when the chance of showing the effect falls below this; 0: never.",
)
@click.option(
    "--cost-a-week",
    type=click.FloatRange(min=0),
    help="Money that one more week of the test costs; needs --decides-for.",
)
@click.option(
    "--decides-for", type=click.FloatRange(min=0, min_open=True), help="Units to which the decision will apply."
)
@click.option(
    "--correction",
    type=click.Choice(["none", "holm", "benjamini_hochberg"]),
    default="none",
    show_default=True,
    help="Of the p-values over metrics and treatments; the deciding metric and guardrails are read by their intervals.",
)
@click.option(
    "--convention",
    type=click.Choice(["delta", "log"]),
    default="delta",
    show_default=True,
    help="Relative effect that is named first; both are shown.",
)
@click.option(
    "--replay",
    type=click.IntRange(0, 10_000),
    default=320,
    show_default=True,
    help="Splits of history that mean nothing on which the method is tried out; 0: none.",
)
@click.option("--why", default="", help="Reason for changing a design that runs.")
@as_json
@with_settings
def design(
    settings: Settings, history: Path | None, name: str, proposal_id: str | None, as_json: bool, **asked: object
) -> None:
    """Design an experiment and store it: who, how many, how long, and the rule that decides.

    HISTORY (CSV or Parquet) has one row for each past unit; for a switchback one for each region and step; for the
    prices of a proposal product_id, week and profit (taken from the proposal's data where it is left out).
    """
    from api.experiment_designs import make_design
    from api.experiments import keep_design

    with open_settled_store(settings) as store:
        past = None if history is None else _reader(history)
        made = make_design(settings, store, past, name, {**asked, "proposal_id": proposal_id})
        why = str(asked["why"])
        keep_design(store, name, made, proposal_id=proposal_id, why=why, by=operator(), now=current_time())
    if as_json:
        print_json({"name": name, **_record(made)})
    else:
        _print(made)


def _reader(history: Path) -> Past:
    from api.commands.tables import read_table

    return lambda columns, identifiers: read_table(history, list(columns), identifiers=identifiers)


def _record(made: Design) -> dict[str, Any]:
    from experiments.design import record_of

    return record_of(made)


def _print(made: Design) -> None:
    sizing = made.sizing
    over = made.unit if made.unit == "time" else f"{made.unit}s"
    click.echo(f"experiment         {made.name}: {made.treatment} over {over}, drawn by {made.draw}")
    click.echo(f"units              {sizing.units:,}{_length(made)}")
    click.echo(
        f"effect for each    {sizing.effect:+.4g} with power {sizing.power:.0%}; smallest {sizing.detectable:.4g}"
    )
    click.echo(
        f"read               {made.plan.method.replace('_', ' ')}, {made.plan.looks} time(s), alpha {made.plan.alpha:g}"
    )
    goals = len(made.metrics) - len(made.rule.guardrails)
    if goals > 1 or len(made.split.weights) > 2:
        click.echo(f"corrects           {made.correction.replace('_', ' ')}, over the metrics that are no guardrails")
    guarded = ", ".join(f"{one.metric} ({one.margin:.0%})" for one in made.rule.guardrails) or "none"
    click.echo(f"decides            {made.rule.metric}; guardrails: {guarded}")
    for check in made.checks:
        marked = "NOT TRUSTWORTHY: " if check.verdict == "broken" else ""
        click.echo(f"A/A replay         {marked}{check.reason.english()}")
    for note in made.notes:
        click.echo(note.english())


def _length(made: Design) -> str:
    if made.switchback is not None:
        plan = made.switchback
        return f" pairs of periods of {plan.length} steps, {plan.burn_in} of them left out; {plan.steps} steps a region"
    return "" if made.sizing.weeks is None else f", {made.sizing.weeks} weeks"
