"""The price part of a cycle: panel → features → level → response → plan → lines, with the evidence for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from api.beside import Beside
from api.line_words import line_reasons
from api.price_choice import PriceChoice, risk_of_lines
from api.rule_stage import PriceRules, price_rules, rule_evidence, under_rules
from engine.demand.level import LevelForecast, fit_level, forecast
from engine.demand.response import Response, estimate_response
from engine.panel import Panel, build_panel, current_prices
from engine.profiles import build_profiles, profile_mix
from engine.progress import Stopwatch
from engine.proposal import FrontierPlan, PriceLine, Reason
from engine.settings import Settings
from engine.shop import Shop
from engine.text import embed_texts
from optimizers.prices import PriceOutcome, PricePlan, PriceProblem, evaluate_prices
from optimizers.prices.robust import RobustPlan

if TYPE_CHECKING:
    from api.price_evidence import AskedEvidence

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DemandFeatures:
    """What describes the products beyond their sales."""

    profile_mix: Floats | None
    """(P, F) mean profile of each product's buyers; None without customers."""
    text: npt.NDArray[np.float32]
    """(P, E) embedding of title and description."""


@dataclass(frozen=True)
class Demand:
    """Level and response of one panel."""

    panel: Panel
    price: Floats
    """(P,) everyday price in force, money per unit."""
    level: LevelForecast
    response: Response
    features: DemandFeatures


@dataclass(frozen=True)
class PriceResult:
    """The price plan with everything that speaks for or against it."""

    demand: Demand
    problem: PriceProblem
    plan: PricePlan
    outcome: PriceOutcome
    current: PriceOutcome
    """The same horizon at today's prices."""
    lines: tuple[PriceLine, ...]
    evidence: Mapping[str, Any]
    robust: RobustPlan | None = None
    """What each risk setting counts of the plan; None where `pricing.risk` counts line by line."""
    frontier: tuple[FrontierPlan, ...] = ()
    """Plans at other limits, which can be taken instead."""


@dataclass(frozen=True)
class PosedPrices:
    """What is known before any price is chosen."""

    demand: Demand
    problem: PriceProblem
    rules: PriceRules


def pose_prices(shop: Shop, settings: Settings, watch: Stopwatch, beside: Beside | None = None) -> PosedPrices:
    """Estimate demand and pose the price problem with its rules.

    Raises:
        DataError: nothing that could be priced.
        ConfigurationError: business rules that cannot be read, or name what the shop does not have.
    """
    with watch.stage("panel"):
        panel = build_panel(shop, settings)
        rules = price_rules(shop, panel, settings)
    with watch.stage("features"):
        features = describe_products(shop, panel, settings)
    if beside is None:
        beside = Beside()
    else:
        beside.open(panel.units.size)
    asked = beside.ask(estimate_response, panel, settings, text=features.text, seed=settings.seed)
    with watch.stage("demand level"):
        price = current_prices(panel)
        model = fit_level(
            panel,
            beside.share(settings),
            horizon=settings.demand.horizon_weeks,
            profile_mix=features.profile_mix,
            text=features.text,
            seed=settings.seed,
        )
        level = forecast(model, panel, price)
    with watch.stage("price response"):
        response = asked.answer()
    demand = Demand(panel, price, level, response, features)
    return PosedPrices(demand, under_rules(price_problem(demand, settings), rules), rules)


def choose_posed(
    shop: Shop,
    settings: Settings,
    watch: Stopwatch,
    posed: PosedPrices,
    choice: PriceChoice,
    asked: AskedEvidence | None = None,
) -> PriceResult:
    """Choose prices and gather what speaks for and against them.

    What was not asked for before is gathered here.

    Raises:
        InfeasibleError: no price vector satisfies the rules.
    """
    from api.frontier_plans import index_plans
    from api.price_evidence import ask_evidence, gather_evidence, index_frontier

    demand, problem = posed.demand, choice.pose(posed.problem)
    with watch.stage("price plan"):
        chosen = choice.choose(problem, gap=settings.pricing.gap, seconds=settings.pricing.seconds)
        plan = chosen.plan
    outcome = evaluate_prices(problem, plan.price)
    current = evaluate_prices(problem, problem.current_price)
    lines = price_lines(demand, problem, plan.price, line_reasons(demand.response, problem, chosen), outcome, current)
    with watch.stage("evidence"):
        points = index_frontier(problem, settings, choice)
        asked = asked or ask_evidence(shop, settings, demand, Beside())
        evidence = gather_evidence(settings, demand, problem, plan, choice, points, asked)
        evidence["rules"] = rule_evidence(posed.rules, chosen.ruled)
    return PriceResult(
        demand, problem, plan, outcome, current, lines, evidence, chosen.robust, index_plans(problem, points)
    )


def describe_products(shop: Shop, panel: Panel, settings: Settings) -> DemandFeatures:
    """Text embedding of each product, and its buyers' profile as of the panel's last week."""
    texts = (panel.products["title"] + " " + panel.products["description"]).str.strip().tolist()
    embedded = embed_texts(texts, settings.home / "cache" / "text")
    return DemandFeatures(buyers(shop, panel, settings, int(panel.weeks[-1])), embedded)


def buyers(shop: Shop, panel: Panel, settings: Settings, week: int) -> Floats | None:
    """(P, F) mean profile of each product's buyers as known at the end of `week`; None without their purchases."""
    if not shop.has("transactions"):
        return None
    profiles = build_profiles(shop, settings, as_of=week)
    return profile_mix(shop, profiles, panel, week) if len(profiles.customer_ids) else None


def price_problem(demand: Demand, settings: Settings) -> PriceProblem:
    """Pose the optimisation problem: posterior draws of the response on the forecast level, and the rules."""
    panel, response, rules = demand.panel, demand.response, settings.pricing
    rng = np.random.default_rng(settings.seed)
    drawn = response.joint_draws(settings.demand.draws, rng)
    unit_cost = panel.products["unit_cost"].to_numpy(dtype=np.float64)
    known = np.isfinite(demand.price) & (demand.price > 0) & np.isfinite(unit_cost)
    return PriceProblem(
        product_ids=panel.product_ids,
        current_price=np.where(known, demand.price, 1.0),
        unit_cost=np.where(known, unit_cost, 0.0),
        base_units=np.where(known, demand.level.product_units, 0.0),
        own=drawn.own,
        cross=drawn.cross,
        base_scale=_centred(demand.level.draws(settings.demand.draws, rng)),
        family=panel.category_code,
        movable=response.identified & known,
        max_change=rules.max_change,
        step=rules.step,
        index_band=rules.index_band,
        min_margin=rules.min_margin,
        max_changed=rules.max_changed,
        endings=rules.endings,
        risk=risk_of_lines(settings),
        price_low=response.price_low,
        price_high=response.price_high,
        curvature=float(drawn.curvature.mean()),
        curvature_draws=drawn.curvature,
        index_weight=response.index_weight,
    )


def _centred(scale: Floats) -> Floats:
    """Draws (D, P) whose mean is 1 to the last digit, so that expected units are the forecast and weigh the index."""
    centred: Floats = scale / scale.mean(axis=0)
    return centred


def price_lines(
    demand: Demand,
    problem: PriceProblem,
    price: Floats,
    reasons: Sequence[Reason],
    outcome: PriceOutcome,
    current: PriceOutcome,
) -> tuple[PriceLine, ...]:
    """One line for each product at prices (P,), with its reason in words."""
    response, products = demand.response, demand.panel.products
    return tuple(
        PriceLine(
            product_id=product_id,
            title=str(products["title"].iat[i]),
            category=str(products["category"].iat[i]),
            current_price=float(problem.current_price[i]),
            proposed_price=float(price[i]),
            unit_cost=float(problem.unit_cost[i]),
            units_current=float(current.units[i]),
            units_proposed=float(outcome.units[i]),
            profit_current=float(current.profit[i]),
            profit_proposed=float(outcome.profit[i]),
            gain_low=float(outcome.line_gain_low[i]),
            gain_high=float(outcome.line_gain_high[i]),
            elasticity=float(response.elasticity[i]),
            elasticity_se=float(response.elasticity_se[i]),
            identified=bool(response.identified[i]),
            reason=reasons[i],
        )
        for i, product_id in enumerate(problem.product_ids)
    )
