"""`offerwright experiment analyse`: what a test earned, read as its design says, or from a table of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.options import (
    alpha_option,
    as_json,
    current_time,
    example,
    open_settled_store,
    operator,
    print_json,
    with_settings,
)
from api.commands.tables import read_shares, read_table

if TYPE_CHECKING:
    from api.experiments import Asked
    from engine.settings import Settings
    from experiments.design import Design
    from experiments.measure import Analysis, Effect, Modification, Prior
    from experiments.reading import DesignReading, Row
    from experiments.trust.check import Check

_OF_TABLE = ("weights", "alpha", "correction", "convention")
"""Options of a reading without a design; a stored design has fixed them."""


@click.command(
    epilog=example(
        "offerwright experiment analyse outcomes.csv --metric profit --metric orders --unit customer_id",
        "offerwright experiment analyse outcomes.csv --name spring --unit customer_id --plot spring.html",
    )
)
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--metric", "metrics", multiple=True, help="Column to compare; repeatable. A stored design names its own."
)
@click.option(
    "--variant", default="variant", show_default=True, help="Column of the variant: 0 control, 1 …, -1 outside."
)
@click.option(
    "--weights",
    callback=read_shares,
    metavar="SHARE,SHARE…",
    help="Planned share of each variant [default: equal]; not for a stored design.",
)
@alpha_option("1 − confidence [default: 0.05]; not for a stored design.", default=None)
@click.option(
    "--correction",
    type=click.Choice(["none", "holm", "benjamini_hochberg"]),
    help="Of the p-values over metrics and variants [default: none]; not for a stored design.",
)
@click.option(
    "--convention",
    type=click.Choice(["delta", "log"]),
    help="Relative effect that is named first [default: delta]; not for a stored design.",
)
@click.option("--bayesian", is_flag=True, help="Show the posterior of each relative effect, under a normal prior.")
@click.option("--prior-mean", type=float, default=0.0, show_default=True, help="Mean of the prior, a share.")
@click.option(
    "--prior-spread",
    type=click.FloatRange(min=0, min_open=True),
    default=0.3,
    show_default=True,
    help="Standard deviation of the prior, a share.",
)
@click.option("--earlier", multiple=True, help="Column of the variant in an earlier test, to check what it left.")
@click.option("--segment", "segments", multiple=True, help="Column to break the effect down by; repeatable.")
@click.option(
    "--modifier", "modifiers", multiple=True, help="Column with a number along which the effect may change; repeatable."
)
@click.option(
    "--weeks",
    type=click.FloatRange(0, min_open=True),
    help="Weeks since the start, where the units are there from the first day [default: what the clock says].",
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Page with the plots (HTML).")
@click.option("--unit", default="unit_id", show_default=True, help="Column of the unit's identifier.")
@click.option("--name", help="Identifier under which the store keeps the experiment.")
@as_json
@with_settings
def analyse(
    settings: Settings,
    table: Path,
    metrics: tuple[str, ...],
    unit: str,
    name: str | None,
    plot: Path | None,
    as_json: bool,
    **asked: Any,  # noqa: ANN401 - how to read
) -> None:
    """Read an experiment from TABLE (CSV or Parquet), one row per randomised unit.

    With --name the reading is stored beside what the experiment's proposal promised. A stored design is read as it
    says: its metrics, its method, its correction, and the rule that decides.
    """
    if name is not None and not metrics:
        fixed = [f"--{option}" for option in _OF_TABLE if asked[option] is not None]
        if fixed:
            raise click.UsageError(f"{', '.join(fixed)}: the stored design has fixed that; leave it out")
        _analyse_design(settings, name, table, unit, _asked(asked), plot, in_json=as_json)
        return
    if not metrics:
        raise click.UsageError("give --metric, or --name of a stored design")
    analysis = _analyse_table(table, metrics, unit, asked)
    if name is not None:
        _store_reading(settings, name, analysis)
    if as_json:
        print_json(analysis)
    else:
        _print_analysis(analysis, _prior(asked))


def _prior(asked: Mapping[str, Any]) -> Prior | None:
    from experiments.measure import Prior

    return Prior(asked["prior_mean"], asked["prior_spread"]) if asked["bayesian"] else None


def _asked(asked: Mapping[str, Any]) -> Asked:
    from api.experiments import Asked

    return Asked(asked["weeks"], asked["segments"], asked["modifiers"], asked["earlier"], _prior(asked))


def _analyse_table(table: Path, metrics: Sequence[str], unit: str, asked: Mapping[str, Any]) -> Analysis:
    from experiments.measure import Metric
    from experiments.measure import analyse as analyse_table

    variant = asked["variant"]
    frame = read_table(table, [unit, variant, *metrics], identifiers=(unit,))
    return analyse_table(
        frame,
        [Metric(name=column, column=column) for column in metrics],
        variant=variant,
        unit=unit,
        weights=asked["weights"],
        alpha=asked["alpha"] or 0.05,
        segments=asked["segments"],
        modifiers=asked["modifiers"],
        earlier=asked["earlier"],
        correction=asked["correction"] or "none",
        convention=asked["convention"] or "delta",
        prior=_prior(asked),
    )


def _analyse_design(
    settings: Settings, name: str, table: Path, unit: str, asked: Asked, plot: Path | None, *, in_json: bool
) -> None:
    """Read a stored experiment as its design says, and store the reading."""
    from api.experiments import read_table_now
    from engine.files import write_text
    from experiments.design import design_from

    with open_settled_store(settings) as store:
        stored = store.experiments.get(name)
        made = design_from(stored.design)
        named = tuple(dict.fromkeys((unit, *([made.cluster] if made.cluster else []))))
        frame = read_table(table, list(named), identifiers=named)
        reading = read_table_now(store, stored, frame, unit, asked, by=operator(), now=current_time())
        readings = [one.reading for one in store.experiments.readings(name)]
    if plot is not None:
        from api.experiment_plots import render_readings

        write_text(plot, render_readings(made, readings, settings.server.language))
    if in_json:
        print_json(readings[-1])
    else:
        _print_reading(reading, made, stored.promise)


def _store_reading(settings: Settings, name: str, analysis: Analysis) -> None:
    from engine.files import plain

    reading: dict[str, Any] = plain(analysis)
    with open_settled_store(settings) as store:
        store.experiments.store_reading(name, reading, by=operator(), now=current_time())


def _print_analysis(analysis: Analysis, prior: Prior | None) -> None:
    shown = ", ".join(f"{variant}: {count:,}" for variant, count in enumerate(analysis.counts))
    click.echo(f"units by variant   {shown}")
    if analysis.interval != analysis.method or not analysis.final:
        click.echo(f"interim            the plan is not at its end; intervals are valid now ({analysis.interval})")
    _print_checks(analysis.checks)
    for exclusion in analysis.exclusions:
        click.echo(f"left out: {exclusion.reason.english()}")
    for refusal in analysis.refused:
        click.echo(f"{refusal.metric} cannot be read: {refusal.reason.english()}")
    _print_effects(analysis.effects, analysis.correction, analysis.convention, prior)
    for part in analysis.breakdowns:
        click.echo(f"{part.metric}, variant {part.variant}, by {part.segment}: {_differ(part.differ_adjusted_p)}")
        for one in part.effects:
            bounds = _bounds(one.effect.low, one.effect.high)
            click.echo(f"  {one.level}: {one.effect.estimate:+.4g} {bounds}, expect {one.shrunk:+.4g}")
    _print_modifications(analysis.modifications)


def _differ(p_value: float) -> str:
    return f"chance of segments this far apart if they were alike {p_value:.2g}"


def _print_effects(
    effects: Sequence[Effect] | Sequence[Row],
    correction: str,
    convention: str,
    prior: Prior | None,
    guarded: frozenset[str] = frozenset(),
) -> None:
    """Each effect on a line, below it its share of the control's value; guardrails are not corrected."""
    for effect in effects:
        said = "" if effect.p_value is None else f", p = {effect.p_value:.2g}"
        if correction != "none" and effect.adjusted_p is not None and effect.metric not in guarded:
            said += f" ({correction.replace('_', ' ')}: {effect.adjusted_p:.2g})"
        bounds = _bounds(effect.low, effect.high)
        click.echo(
            f"{effect.metric}, variant {effect.variant}: {effect.estimate:+.4g} {bounds}{said}: {effect.decision}"
        )
        for name in sorted(effect.relatives, key=lambda one: one != convention):
            share = effect.relatives[name]
            click.echo(f"  relative, {name}: {share.estimate:+.2%} [{share.low:+.2%}, {share.high:+.2%}]")
        if prior is not None and (found := effect.posterior) is not None:
            click.echo(
                f"  posterior under the prior N({prior.mean:g}, {prior.spread:g}²): {found.mean:+.2%} "
                f"[{found.low:+.2%}, {found.high:+.2%}], better with chance {found.chance_better:.1%}, "
                f"expected loss {found.expected_loss:.2%}; it does not correct for peeking"
            )


def _bounds(low: float, high: float) -> str:
    return f"[{low:+.4g}, {high:+.4g}]"


def _print_modifications(modifications: Sequence[Modification]) -> None:
    for one in modifications:
        click.echo(
            f"{one.metric}, variant {one.variant}, along {one.modifier}: {one.slope:+.4g} for one more "
            f"{_bounds(one.low, one.high)}, p = {one.p_value:.2g}; {one.effect_below:+.4g} a standard deviation below "
            f"the mean, {one.effect_above:+.4g} above"
        )


def _print_checks(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.verdict != "passed":
            click.echo(f"{'NOT TRUSTWORTHY' if check.verdict == 'broken' else 'notice'}: {check.reason.english()}")


def _print_reading(reading: DesignReading, made: Design, promise: Mapping[str, Any]) -> None:
    _print_checks(reading.checks)
    if not reading.final:
        click.echo(f"interim            the plan is not at its end; intervals are valid now ({reading.interval})")
    guarded = frozenset(guardrail.metric for guardrail in made.rule.guardrails)
    _print_effects(reading.effects, made.correction, made.convention, reading.prior, guarded)
    for part in reading.segments:
        bounds = _bounds(part["low"], part["high"])
        click.echo(
            f"{part['metric']}, variant {part['variant']}, {part['segment']} {part['level']}: {part['estimate']:+.4g} "
            f"{bounds}, expect {part['shrunk']:+.4g}; {_differ(part['differ_p'])}"
        )
    _print_modifications(reading.analysis.modifications if reading.analysis else ())
    if reading.measured is not None:
        measured = reading.measured
        click.echo(f"measured gain      {measured.gain:,.0f} ({measured.low:,.0f} … {measured.high:,.0f})")
        if made.promise_scale is not None:
            click.echo(f"promised for it    {made.sizing.effect * made.promise_scale:,.0f}")
        if promise.get("promised_gain") is not None:
            click.echo(f"promised in all    {promise['promised_gain']:,.0f}")
    for verdict in reading.verdicts:
        click.echo(f"decision           {verdict.action}")
        for reason in verdict.reasons:
            click.echo(f"  {reason.english()}")
    for note in reading.notes:
        click.echo(note.english())
