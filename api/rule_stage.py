"""The business rules of a shop: read, put in force for the plan's weeks, and given the facts that they ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.panel import Panel
from engine.proposal import Reason
from engine.settings import Settings
from engine.shop import Shop
from optimizers.prices import PriceProblem
from optimizers.rules import Facts, Rule, RuleBook, read_rules
from optimizers.rules.ladders import asked_prices
from optimizers.rules.plan import RuledPlan
from optimizers.rules.scope import check_scopes

Floats = npt.NDArray[np.float64]

DAYS_IN_WEEK = 7
WEEKS_OF_30_DAYS = 5
"""Weeks that hold the last 30 days, the first of them in part: the lowest price is never taken too high."""
NOTICEABLE = 0.02
"""A rebuilt everyday price that moved by less than this share may only have wobbled."""
HALF_A_CENT = 0.005
NO_CALENDAR = "the shop has no calendar: rules with dates ({rules}) count as in force"
NOT_IN_FORCE = "rules that are not in force in the weeks of the plan: {rules}"


@dataclass(frozen=True)
class PriceRules:
    """The rules of one plan."""

    rules: tuple[Rule, ...] = ()
    """Those in force on any day of the plan."""
    facts: Facts | None = None
    remarks: tuple[Reason, ...] = field(default=())


def price_rules(shop: Shop, panel: Panel, settings: Settings) -> PriceRules:
    """Read `pricing.rules` and what its rules ask about; no rules where the setting is none.

    Raises:
        ConfigurationError: the rules cannot be read, or name what the shop does not have.
    """
    if settings.pricing.rules is None:
        return PriceRules()
    book = read_rules(settings.pricing.rules)
    first, last = plan_days(panel, settings)
    rules = tuple(rule for rule in book.rules if rule.in_force(first, last))
    facts = gather_facts(shop, panel, book)
    check_scopes(rules, facts)
    return PriceRules(rules, facts, tuple(_remarks(book, rules, first)))


def under_rules(problem: PriceProblem, rules: PriceRules) -> PriceProblem:
    """Put the prices that rules ask for on the ladder, where all that is made of the problem will see them."""
    if rules.facts is None:
        return problem
    return replace(problem, further=asked_prices(problem, rules.facts, rules.rules))


def rule_evidence(rules: PriceRules, ruled: RuledPlan | None) -> dict[str, Any] | None:
    """What the rules did to a plan, for the report: each rule with its owner, how many products it bound, and so on."""
    if ruled is None:
        return None
    bound = Counter(name for one in ruled.bound for name in one.rules)
    broken = Counter(name for names in ruled.broken_today for name in names)
    return {
        "remarks": list(rules.remarks),
        "fines": ruled.fines,
        "rules": [
            {
                "name": rule.name,
                "kind": rule.kind,
                "scope": rule.scope.words(),
                "owner": rule.owner,
                "penalty": rule.penalty,
                "today": rule.today,
                "products": len(one.products),
                "bound": bound[rule.name],
                "broken_today": broken[rule.name],
            }
            for one in ruled.rules.rules
            for rule in (one.rule,)
        ],
    }


def plan_days(panel: Panel, settings: Settings) -> tuple[date | None, date | None]:
    """First and last day of the plan: it begins on the Monday after the data; None where the calendar is unknown."""
    monday = panel.week_start[-1]
    if np.isnat(monday):
        return None, None
    first = monday.astype("datetime64[D]").astype(date) + timedelta(days=DAYS_IN_WEEK)
    return first, first + timedelta(days=DAYS_IN_WEEK * settings.demand.horizon_weeks - 1)


def _remarks(book: RuleBook, rules: tuple[Rule, ...], first: date | None) -> Iterable[Reason]:
    dated = [rule.name for rule in rules if rule.start or rule.end]
    if first is None and dated:
        yield Reason(NO_CALENDAR, {"rules": ", ".join(dated)})
    asleep = [rule.name for rule in book.rules if rule not in rules]
    if asleep:
        yield Reason(NOT_IN_FORCE, {"rules": ", ".join(asleep)})


def gather_facts(shop: Shop, panel: Panel, book: RuleBook) -> Facts:
    """Gather what rules may ask about the panel's products."""
    listed = _product_table(shop)
    mine = listed.reindex(list(panel.product_ids))
    columns = {name: _texts(mine[name]) for name in mine.columns}
    columns |= {name: _texts(panel.products[name]) for name in ("category", "department", "brand", "private_label")}
    columns["product_id"] = panel.product_ids
    if book.families:
        family = {product: name for name, products in book.families.items() for product in products}
        columns["price_family"] = tuple(family.get(product, "") for product in panel.product_ids)
    size = pd.to_numeric(mine["pack_size"], errors="coerce") if "pack_size" in mine else pd.Series(dtype=float)
    return Facts(
        columns=columns,
        pack_size=size.to_numpy(dtype=np.float64) if len(size) else np.full(panel.n_products, np.nan),
        days_since_change=days_since_change(panel),
        lowest_price=lowest_price(panel),
        competitor_price=_by_product(panel, book.competitor_price, np.nan),
        stock=_by_product(panel, book.stock, np.inf),
        elsewhere={name: frozenset(_texts(listed[name])) for name in listed.columns}
        | {"product_id": frozenset(map(str, listed.index))},
    )


def _product_table(shop: Shop) -> pd.DataFrame:
    """The shop's products by identifier, with all their attributes; empty where there is no such table."""
    if not shop.has("products"):
        return pd.DataFrame(index=pd.Index([], dtype=object))
    table = pd.read_parquet(shop.tables["products"])
    return (
        table.assign(product_id=table["product_id"].astype(str)).drop_duplicates("product_id").set_index("product_id")
    )


def _texts(values: pd.Series) -> tuple[str, ...]:
    return tuple("" if pd.isna(value) else _text(value) for value in values)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _by_product(panel: Panel, known: Mapping[str, float], missing: float) -> Floats:
    return np.array([known.get(product, missing) for product in panel.product_ids], dtype=np.float64)


def days_since_change(panel: Panel) -> Floats:
    """(P,) days from the last change of the everyday price to the plan, in the median store; infinite: none seen."""
    days = np.full(len(panel.series_product), np.inf)
    for series in range(len(days)):
        seen = np.flatnonzero(panel.observed[series])
        price = panel.regular_price[series, seen]
        step = np.abs(np.diff(price))
        noticed = step > (NOTICEABLE * price[:-1] if panel.prices_reconstructed else HALF_A_CENT)
        if noticed.any():
            days[series] = DAYS_IN_WEEK * (len(panel.weeks) - int(seen[1:][noticed][-1]))
    return _median_store(panel, days)


def lowest_price(panel: Panel) -> Floats:
    """(P,) lowest shelf price of the last 30 days, promotions included, in the median store; NaN: none was seen."""
    late = np.where(panel.observed, panel.price, np.inf)[:, -WEEKS_OF_30_DAYS:].min(axis=1)
    lowest = _median_store(panel, late)
    return np.where(np.isfinite(lowest), lowest, np.nan)


def _median_store(panel: Panel, value: Floats) -> Floats:
    """(P,) lower median over the stores of a product, (S,) → (P,): a value that one of its stores has."""
    order = np.lexsort((value, panel.series_product))
    stores = np.bincount(panel.series_product, minlength=panel.n_products)
    first = np.cumsum(stores) - stores
    middle = np.minimum(first + (np.maximum(stores, 1) - 1) // 2, len(order) - 1)
    return np.where(stores > 0, value[order][middle], np.inf)
