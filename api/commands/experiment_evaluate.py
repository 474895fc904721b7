"""`offerwright experiment evaluate`: what another policy would have earned, and whether it may go live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from api.commands.options import alpha_option, as_json, example, open_settled_store, print_json, with_settings
from api.commands.tables import read_table
from api.off_policy import Choice, log_of_bandit, log_of_table, value_policy

if TYPE_CHECKING:
    from api.off_policy import DecisionLog, PolicyReading
    from engine.settings import Settings


def _read_target(_context: click.Context, _option: click.Parameter, text: str) -> dict[str, float]:
    try:
        target = json.loads(text)
        return {str(arm): float(share) for arm, share in target.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise click.BadParameter(f'{text!r}: write the chance of each arm, such as {{"spring": 1}}') from error


@click.command(
    epilog=example(
        "offerwright experiment evaluate --bandit banner --target '{\"spring\": 1}'",
        'offerwright experiment evaluate decisions.csv --target \'{"spring": 0.7, "plain": 0.3}\' --context age',
    )
)
@click.argument("log", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--bandit", help="Stored bandit whose log is read, in place of a LOG file.")
@click.option("--target", required=True, callback=_read_target, metavar="JSON", help="Chance of each arm by name.")
@click.option("--context", multiple=True, help="Column of LOG that was known before the decision; repeatable.")
@click.option(
    "--estimator",
    type=click.Choice(get_args(Choice)),
    default="auto",
    show_default=True,
    help="auto: doubly robust where there is context, else self-normalised.",
)
@alpha_option()
@click.option("--margin", type=float, default=0.0, show_default=True, help="Gain per decision that a change is worth.")
@as_json
@with_settings
def evaluate(
    settings: Settings,
    log: Path | None,
    bandit: str | None,
    target: dict[str, float],
    context: tuple[str, ...],
    estimator: Choice,
    alpha: float,
    margin: float,
    as_json: bool,
) -> None:
    """Value a policy on decisions that were logged: by a stored bandit, or in LOG (CSV or Parquet).

    LOG has arm, reward (empty: not known yet) and propensity, the chance with which the arm was chosen. The policy may
    go live only if the lower bound of its gain over what runs is above the margin, and the log can answer.
    """
    if (log is None) == (bandit is None):
        raise click.UsageError("give a LOG file, or --bandit")
    decisions = _of_bandit(settings, str(bandit)) if log is None else _of_file(log, context)
    found = value_policy(decisions, target, estimator=estimator, alpha=alpha, margin=margin)
    if as_json:
        print_json(found)
    else:
        _print(found, alpha)


def _of_bandit(settings: Settings, bandit: str) -> DecisionLog:
    with open_settled_store(settings) as store:
        return log_of_bandit(store.bandits.get(bandit).arms, store.bandits.log(bandit))


def _of_file(log: Path, context: tuple[str, ...]) -> DecisionLog:
    return log_of_table(read_table(log, ["arm", "reward", "propensity", *context], identifiers=("arm",)), context)


def _print(found: PolicyReading, alpha: float) -> None:
    left_out = f", {found.unrewarded:,} without a reward left out" if found.unrewarded else ""
    click.echo(f"decisions          {found.decisions:,}{left_out}")
    click.echo(
        f"value              {found.value:.4g} a decision [{found.low:.4g}, {found.high:.4g}] ({1 - alpha:.0%}, "
        f"{found.estimator.replace('_', ' ')}); what ran earned {found.earned:.4g}"
    )
    click.echo(f"gain               {found.gain:+.4g} a decision, at least {found.gain_low:+.4g}")
    click.echo(f"effective sample   {found.effective_sample_size:,.0f}")
    click.echo(f"gate               {'may go live' if found.passes else 'may not go live'}")
    for reason in found.reasons:
        click.echo(f"  {reason}")
