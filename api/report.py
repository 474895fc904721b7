"""report.html: one self-contained page with a proposal, in both languages, that a manager would forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from api import charts
from api.answer import doubts, gain_sources, leading_product, to_do
from api.language import LANGUAGES, closed, first_capital, say, translations
from api.plots import Words, plot_elasticities, plot_moves, plot_promise
from engine.demand.checks import TOO_FEW, WIDE
from engine.files import plain
from engine.proposal import N_, PriceLine, Proposal

TEMPLATES = Path(__file__).parent / "templates"
_BIGGEST = 20
STATUSES = {
    "optimal": N_("optimal"),
    "time_limit": N_("stopped at the time limit"),
    "gap_limit": N_("stopped short of the gap asked for"),
    "heuristic": N_("the best plan found, not proven to be the best"),
    "cancelled": N_("stopped by hand"),
    "nothing_to_move": N_("nothing to move"),
    "no_history": N_("no history"),
}
"""Why a solver stopped, as people say it."""
UNJUDGED = {TOO_FEW: N_("too few to judge from"), WIDE: N_("passed, with intervals wider than needed")}
"""Why a check of the response neither passed nor failed."""


@cache
def environment(language: str) -> Environment:
    """What every template of a report can use, in one language."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.install_gettext_translations(translations(language), newstyle=False)  # type: ignore[attr-defined]
    made.filters["money"] = money
    made.filters["percent"] = percent
    made.filters["part"] = part
    made.filters.update(closed=closed, first_capital=first_capital)
    words = translations(language).gettext
    made.globals["say"] = partial(say, translate=words)
    made.filters["status"] = lambda status: words(STATUSES[status])
    return made


def money(value: float | None, digits: int = 0) -> str:
    """An amount with thousands separators; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage with its sign spelled out; a dash where there is none."""
    return "–" if value is None else f"{100 * value:+.{digits}f} %"


def part(value: float | None) -> str:
    """A small share as a percentage with two significant digits, such as 0.0014 %; a dash where there is none."""
    return "–" if value is None else f"{float(f'{100 * value:.2g}'):.12f}".rstrip("0").rstrip(".") + " %"


def render_report(proposal: Proposal, *, language: str = "en") -> str:
    """The whole page as HTML.

    Args:
        proposal: fresh or from the store.
        language: which of the two languages is shown first; the page has a switch.
    """
    bodies = {name: render_body(proposal, name) for name in LANGUAGES}
    page = environment("en").get_template("report.html")
    title = f"Offerwright · {proposal.proposal_id}"
    return page.render(title=title, bodies=bodies, languages=LANGUAGES, first=language)


def render_body(proposal: Proposal, language: str) -> str:
    """The report's content in one language, without the page around it."""
    evidence = plain(proposal.evidence)
    template = environment(language).get_template("report_body.html")
    return template.render(
        proposal=proposal,
        summary=plain(proposal.summary),
        evidence=evidence,
        to_do=to_do(proposal.prices, proposal.summary),
        sources=gain_sources(proposal.summary),
        doubts=doubts(evidence, leading_product(proposal.prices)),
        biggest=biggest_moves(proposal.prices),
        unjudged=UNJUDGED,
        compared=compared_models(evidence.get("prices") or {}),
        charts=_charts(proposal, evidence, language),
        language=language,
    )


def biggest_moves(lines: Sequence[PriceLine], count: int = _BIGGEST) -> list[PriceLine]:
    """The moves that promise most or risk most: changed lines by the size of their expected gain."""
    moved = [line for line in lines if line.proposed_price != line.current_price]
    return sorted(moved, key=lambda line: -abs(line.profit_proposed - line.profit_current))[:count]


def compared_models(prices: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the backtest over all products, each with XGBoost's difference to it and the interval of that."""
    tested = prices.get("backtest") or {}
    against = {(found["other"], found["horizon"]): found for found in tested.get("intervals") or ()}
    rows = [row for row in tested.get("rows") or () if row["segment"] == "all"]
    return [{**row, "against": against.get((row["model"], row["horizon"]))} for row in rows]


def _charts(proposal: Proposal, evidence: Mapping[str, Any], language: str) -> dict[str, Any]:
    prices = evidence.get("prices")
    if not prices:
        return {}
    words = translations(language).gettext
    drawn: dict[str, Any] = {
        "promise": plot_promise(proposal.summary, proposal.currency, words),
        "elasticity": plot_elasticities(proposal.prices, words),
        "moves": plot_moves(biggest_moves(proposal.prices, 15), words),
        "frontier": _frontier_chart(prices["frontier"], words),
        "curves": [_curve_chart(curve, words) for curve in prices["curves"]],
        "sensitivity": _sensitivity_chart(prices["sensitivity"], words) if prices["sensitivity"] else "",
        "backtest": _backtest_chart(prices["backtest"], words) if prices["backtest"] else "",
    }
    return drawn


def _sensitivity_chart(found: Mapping[str, Any], words: Words) -> str:
    """Gain of the plan as every elasticity is shifted, as a hidden confounder would have shifted it."""
    if len(found["curve"]) < 2:
        return ""
    bias, gain = zip(*found["curve"], strict=True)
    marks = [charts.Mark(0.0, words("as estimated"), "ink")]
    if found["breaking_bias"] is not None:
        marks.append(charts.Mark(found["breaking_bias"], words("promise void"), "bad"))
    return charts.line_chart(
        [charts.Line(bias, gain)],
        words("Gain by the bias that a hidden confounder would cause"),
        marks=marks,
        x_name=words("bias of every elasticity"),
        y_name=words("gain over the horizon"),
        y_format="{:,.0f}",
        zero=True,
    )


def _backtest_chart(tested: Mapping[str, Any], words: Words) -> str:
    """Weekly units of all products in the held-out weeks, sold and forecast at the longest horizon."""
    weeks = tested["weeks"]
    if len(weeks) < 2:
        return ""
    x = [float(week["week"]) for week in weeks]
    drawn = [charts.Line(x, [week["actual"] for week in weeks], words("sold"), "ink")]
    colours = ("accent", "second")
    model = weeks[0]["forecast"]
    for name, colour in zip([name for name in model if name.startswith("XGBoost, ")], colours, strict=False):
        shown = words("forecast, {weeks} week(s) ahead").format(weeks=name.split()[1])
        drawn.append(charts.Line(x, [week["forecast"][name] for week in weeks], shown, colour, dash=charts.DASHES[0]))
    caption = words("Units sold and forecast in the held-out weeks")
    return charts.line_chart(drawn, caption, x_name=words("week"), y_format="{:,.0f}", zero=True)


def _frontier_chart(points: Sequence[Mapping[str, float | None]], words: Words) -> str:
    bounded = [point for point in points if point["band"] is not None and point["gain"] is not None]
    if len(bounded) < 2:
        return ""
    curve = charts.Line(
        [100 * float(point["band"] or 0.0) for point in bounded], [float(point["gain"] or 0.0) for point in bounded]
    )
    return charts.line_chart(
        [curve],
        words("Gain by width of the price-index band"),
        x_name=words("width of the index band, ± %"),
        y_name=words("gain over the horizon"),
        y_format="{:,.0f}",
        zero=True,
        points=True,
    )


def _curve_chart(curve: Mapping[str, Any], words: Words) -> dict[str, str]:
    marks = [
        charts.Mark(curve["current_price"], f"{curve['current_price']:.2f}", "mute"),
        charts.Mark(curve["proposed_price"], f"{curve['proposed_price']:.2f}", "accent"),
    ]
    line = charts.Line(curve["price"], curve["profit"], low=curve["profit_low"], high=curve["profit_high"])
    drawn = charts.line_chart(
        [line],
        f"{words('Profit by price')}: {curve['title'] or curve['product_id']}",
        marks=marks,
        x_format="{:.2f}",
        y_format="{:,.0f}",
        width=340,
        height=200,
    )
    return {"title": curve["title"] or curve["product_id"], "svg": drawn}
