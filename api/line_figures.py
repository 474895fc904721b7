"""A line's reason in numbers: which rules bound it, what they cost, what a little more of each would bring.

The words of a line (api.line_words) hold these figures in templates around templates; here they are read back, of a
fresh line or of one from the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.line_words import BARRED, NEXT_BEST, SETTINGS
from engine.proposal import Reason
from optimizers.prices import explain
from optimizers.rules import plan as rules
from optimizers.rules.conflict import QUOTED

SEEN_RANGE = "seen_range"
"""Not a setting: prices beyond those seen are never taken on faith."""
_SETTINGS = {
    **SETTINGS,
    "index_room": "pricing.index_band",
    **{name: f"pricing.{name}" for name in ("max_change", "min_margin", "endings")},
    "seen_range": SEEN_RANGE,
    "no_rung": "pricing.max_change",
    **{f"no_rung_{name}": f"pricing.{name}" for name in ("min_margin", "endings")},
    "no_rung_seen_range": SEEN_RANGE,
}
_BOUND = {
    template: _SETTINGS[name]
    for templates in (explain.HELD, explain.RAISED, explain.LOWERED)
    for name, template in templates.items()
    if name in _SETTINGS
}
"""Template -> the setting that bound the line."""
_SHARED = {explain.COSTS[name]: (SETTINGS[name], unit) for name, unit in (("index", 0.001), ("max_changed", 1.0))}
"""Template -> the setting whose shadow price it tells, and how much more of it that price is for."""
_RELIEF = {rules.RELIEF["point"]: 0.01, rules.RELIEF["count"]: 1.0}
_COSTS = frozenset({*explain.COSTS.values(), rules.COSTS})
_NEXT = frozenset(NEXT_BEST.values())


@dataclass(frozen=True)
class Relief:
    """What a little more of a rule would bring: its shadow price."""

    rule: str
    more: float
    """By how much it is relaxed: a share (0.001 of the index, 0.01 of what the rule measures), or 1, a change or
    product more."""
    gain: float
    """Money over the horizon, in the whole plan where lines share the rule."""


@dataclass(frozen=True)
class NextBest:
    """The best other price that the rules permit."""

    price: float
    cost: float
    """How much less the plan would gain with it, money over the horizon."""
    elasticity: float | None
    """Own-price elasticity from which on another price is best; None: none near the estimate."""


@dataclass(frozen=True)
class LineFigures:
    """What the words of a line say in numbers. Money over the horizon unless it is a price."""

    bound_by: tuple[str, ...]
    """Settings and business rules that kept it from a better price; empty where none did."""
    free_price: float | None
    """The price without them, where the words name it."""
    rule_cost: float | None
    """What they cost this line; None: less than half a cent, or not known."""
    relief: tuple[Relief, ...]
    next_best: NextBest | None
    barred_by: tuple[str, ...]
    """Rules that leave no other price while the others stay."""


def line_figures(reason: Reason) -> LineFigures:
    """Read the figures of a line's reason."""
    parts = tuple(_parts(reason))
    cost = [part.values["cost"] for part in parts if part.code in _COSTS]
    return LineFigures(
        bound_by=tuple(name for part in parts for name in _bound_by(part)),
        free_price=next((price for part in parts if (price := _free_price(part)) is not None), None),
        rule_cost=cost[0] if cost else None,
        relief=tuple(relief for part in parts if (relief := _relief(part)) is not None),
        next_best=next((_next_best(part.values) for part in parts if part.code in _NEXT), None),
        barred_by=tuple(name for part in parts if part.code == BARRED for name in _names(part.values["rules"])),
    )


def _parts(reason: Reason) -> Iterator[Reason]:
    """The sentences that a reason is put together of, the innermost first."""
    for value in reason.values.values():
        if isinstance(value, Reason):
            yield from _parts(value)
    yield reason


def _bound_by(part: Reason) -> tuple[str, ...]:
    if part.code in rules.BOUND.values():
        return _names(part.values["rules"])
    return (_BOUND[part.code],) if part.code in _BOUND else ()


def _names(listed: object) -> tuple[str, ...]:
    """Names of rules that `listed_rules` joined to a sentence."""
    found = _parts(listed) if isinstance(listed, Reason) else ()
    return tuple(part.values["name"] for part in found if part.code == QUOTED)


def _free_price(part: Reason) -> float | None:
    return part.values.get("price" if part.code in rules.BOUND.values() else "free_price")


def _relief(part: Reason) -> Relief | None:
    if part.code in _SHARED:
        return Relief(*_SHARED[part.code], part.values["gain"])
    if part.code in _RELIEF:
        return Relief(part.values["rule"], _RELIEF[part.code], part.values["gain"])
    return None


def _next_best(values: Mapping[str, Any]) -> NextBest:
    return NextBest(values["price"], values["cost"], values.get("elasticity"))
