"""What speaks for and against a price plan: raw promise, other margins, frontier, hidden confounders, backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from api.beside import Asked, Beside
from api.heldout import HalfResponses, Heldout, answer_half, judge_halves
from api.price_choice import PriceChoice
from api.price_stage import Demand, buyers
from engine.demand.backtest import LONG_HORIZON, TEST_WEEKS, Backtest, backtest
from engine.demand.response import diagnose_by_halves
from engine.demand.sensitivity import Sensitivity, Strength, assess_sensitivity, measure_strength
from engine.errors import InfeasibleError, PlanError
from engine.panel import Panel, recent_units, split_panel
from engine.proposal import Reason
from engine.settings import Settings
from engine.shop import Shop
from optimizers.prices import PricePlan, PriceProblem, evaluate_prices
from optimizers.prices.check import price_index_change
from optimizers.prices.model import own_move
from optimizers.prices.solve import at_face_value

Floats = npt.NDArray[np.float64]

MARGIN_FACTORS = (0.7, 1.3)
Band = float | None
"""Half-width of the index band; None: no band."""
FRONTIER_BANDS: tuple[Band, ...] = (0.0005, 0.002, 0.005, 0.01, 0.02, None)
"""Half-widths; the first stands for "index-neutral": prices are whole cents, so an exact zero is rarely possible."""
PROMOTIONS_OUTSIDE = (
    "profit and promise speak of weeks at the everyday price: promotions are planned apart, and without them the shop "
    "would sell {share:.0%} fewer units than it did lately"
)
NOT_JUDGED = (
    "the promise could not be compared with held-out sales: they cannot tell the response, or half of the sales leaves "
    "no plan under the rules"
)
NOTICEABLE_SHARE = 0.05
_EXPLORATORY_GAP = 1e-3
_CURVES = 12
_CURVE_POINTS = 13


@dataclass(frozen=True)
class AskedEvidence:
    """The evidence that no plan is needed for, asked for before there is one."""

    split: str
    """How the sales were halved."""
    panels: tuple[Panel, Panel]
    halves: tuple[Asked[HalfResponses], Asked[HalfResponses]]
    backtest: Asked[Backtest] | None
    strength: Asked[Strength]


def ask_evidence(shop: Shop, settings: Settings, demand: Demand, beside: Beside) -> AskedEvidence:
    """Ask for the responses of both halves, the backtest and the strength of what is observed."""
    first, second, split = split_panel(shop, demand.panel, settings, settings.seed)
    one, other = (beside.ask(answer_half, half, settings, demand.features.text) for half in (first, second))
    reading = demand.response.reading
    fitted = (reading.channels, reading.fit) if reading else None
    strength = beside.ask(measure_strength, demand.panel, fitted)
    return AskedEvidence(split, (first, second), (one, other), _ask_backtest(shop, demand, settings, beside), strength)


def gather_evidence(
    settings: Settings,
    demand: Demand,
    problem: PriceProblem,
    plan: PricePlan,
    choice: PriceChoice,
    points: Sequence[tuple[Band, PricePlan | None]],
    asked: AskedEvidence,
) -> dict[str, Any]:
    """Everything the report draws from, as JSON types and records; what is planned anew is planned as the plan was."""
    one, other = (half.answer() for half in asked.halves)
    blind = one.blind, other.blind
    checked = diagnose_by_halves(demand.panel, asked.panels[1], demand.response, blind, seed=settings.seed)
    heldout = judge_halves(
        demand.panel,
        asked.panels,
        asked.split,
        problem,
        settings,
        responses=(one.told, other.told),
        solve=choice.try_out,
    )
    return {
        "raw_predicted_gain": _gain_at_face_value(problem, demand.response.raw, choice, settings),
        "index_change": price_index_change(problem, plan.price),
        "margins": {f"{factor:g}": gain_at_margin(problem, plan, factor) for factor in MARGIN_FACTORS},
        "frontier": frontier_figures(problem, points),
        "curves": curves(demand, problem, plan),
        "backtest": asked.backtest.answer() if asked.backtest else None,
        "heldout": heldout,
        "caveats": list(demand.panel.price_caveats),
        "warnings": [
            *demand.response.notes,
            *demand.level.reasons,
            *_promotion_note(demand, settings),
            *_judged(heldout),
        ],
        "diagnostics": list(checked.checks),
        "sensitivity": _sensitivity(problem, plan, asked.strength.answer()),
    }


def _ask_backtest(shop: Shop, demand: Demand, settings: Settings, beside: Beside) -> Asked[Backtest] | None:
    """The forecast judged on the last weeks, with the buyers' profile as known before the first of its origins."""
    if not settings.demand.backtest:
        return None
    panel = demand.panel
    held = TEST_WEEKS + min(LONG_HORIZON, settings.demand.horizon_weeks)
    known = int(panel.weeks[max(len(panel.weeks) - held - 1, 0)])
    return beside.ask(
        backtest,
        panel,
        beside.share(settings),
        profile_mix=buyers(shop, panel, settings, known),
        profile_week=known,
        text=demand.features.text,
        seed=settings.seed,
    )


def _promotion_note(demand: Demand, settings: Settings) -> tuple[Reason, ...]:
    """Say that promotions are outside the figures, where the shop sells a noticeable part of its units on promotion."""
    lately = float(recent_units(demand.panel, settings.demand.horizon_weeks).sum()) * settings.demand.horizon_weeks
    share = 1.0 - float(demand.level.product_units.sum()) / lately if lately > 0 else 0.0
    return (Reason(PROMOTIONS_OUTSIDE, {"share": share}),) if share > NOTICEABLE_SHARE else ()


def _sensitivity(problem: PriceProblem, plan: PricePlan, strength: Strength) -> Sensitivity:
    """How strong a hidden confounder would have to be to void the promise."""
    hurts = -np.sign(plan.price - problem.current_price)

    def gain(bias: float) -> float:
        biased = replace(problem, own=problem.own + bias * hurts)
        return float(evaluate_prices(biased, plan.price).gain.sum())

    return assess_sensitivity(gain, strength)


def gain_at_margin(problem: PriceProblem, plan: PricePlan, factor: float) -> float:
    """Gain of the same plan if every unit margin were `factor` times what was assumed."""
    margin = problem.current_price - problem.unit_cost
    other = replace(problem, unit_cost=np.maximum(problem.current_price - factor * margin, 0.0))
    return float(evaluate_prices(other, plan.price).gain_draws.mean())


def _gain_at_face_value(problem: PriceProblem, raw: Floats, choice: PriceChoice, settings: Settings) -> float | None:
    """What unshrunk elasticities would have promised under the same rules; None where they leave no plan."""
    believed = at_face_value(problem, raw)
    try:
        plan = choice.by_mean().try_out(believed, _EXPLORATORY_GAP, settings.pricing.seconds)
    except (InfeasibleError, PlanError):
        return None
    return plan.objective


def _judged(heldout: Heldout | None) -> tuple[Reason, ...]:
    return () if heldout else (Reason(NOT_JUDGED),)


def index_frontier(
    problem: PriceProblem, settings: Settings, choice: PriceChoice
) -> list[tuple[Band, PricePlan | None]]:
    """The best prices at each width of the index band (None is free) under the rules; None where they leave no plan."""
    points: list[tuple[Band, PricePlan | None]] = []
    for band in FRONTIER_BANDS:
        posed, seconds = replace(problem, index_band=band), settings.pricing.seconds / 4
        try:
            plan = choice.by_mean().free_of("index").try_out(posed, _EXPLORATORY_GAP, seconds)
        except (InfeasibleError, PlanError):
            plan = None
        points.append((band, plan))
    return points


def frontier_figures(
    problem: PriceProblem, points: Sequence[tuple[Band, PricePlan | None]]
) -> list[dict[str, float | None]]:
    """Gain and change of the index by width of the band."""
    return [
        {
            "band": band,
            "gain": None if plan is None else plan.objective,
            "index_change": None if plan is None else price_index_change(problem, plan.price),
        }
        for band, plan in points
    ]


def curves(demand: Demand, problem: PriceProblem, plan: PricePlan) -> list[dict[str, Any]]:
    """Demand and profit by price, with 90 % bands, of the products whose move promises most."""
    gain = np.abs(plan.price / problem.current_price - 1) * problem.base_units * problem.current_price
    chosen = [int(i) for i in np.argsort(-gain, kind="stable")[:_CURVES] if gain[i] > 0]
    return [_curve(demand, problem, plan, i) for i in chosen]


def _curve(demand: Demand, problem: PriceProblem, plan: PricePlan, i: int) -> dict[str, Any]:
    ratio = np.linspace(1 - problem.max_change, 1 + problem.max_change, _CURVE_POINTS)
    price = problem.current_price[i] * ratio
    units = problem.base_units[i] * np.exp(problem.own[:, i : i + 1] * own_move(problem, np.log(ratio))[None, :])
    profit = units * (price - problem.unit_cost[i])[None, :]
    return {
        "product_id": problem.product_ids[i],
        "title": str(demand.panel.products["title"].iat[i]),
        "current_price": float(problem.current_price[i]),
        "proposed_price": float(plan.price[i]),
        "price": price,
        "units": units.mean(axis=0),
        "units_low": np.quantile(units, 0.05, axis=0),
        "units_high": np.quantile(units, 0.95, axis=0),
        "profit": profit.mean(axis=0),
        "profit_low": np.quantile(profit, 0.05, axis=0),
        "profit_high": np.quantile(profit, 0.95, axis=0),
    }
