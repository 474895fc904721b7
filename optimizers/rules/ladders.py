"""Ladders with further rungs: prices that a rule asks for and the grid of steps does not meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optimizers.ladder import CENTS, Ladder
from optimizers.rules.record import Facts, Floats, Rule
from optimizers.rules.scope import products_of

_SLACK = 1e-9
_SAME = 0.5 / CENTS - _SLACK


def joined(ladder: Ladder, further: Floats) -> Ladder:
    """Add prices (P, E) to a ladder; NaN adds nothing, and what is within half a cent of a rung is that rung."""
    price = np.concatenate([ladder.price, further], axis=1)
    today = ladder.price[:, ladder.today, None]
    down = _packed(-np.where(price < today - _SAME, price, np.nan))[:, ::-1]
    up = _packed(np.where(price > today + _SAME, price, np.nan))
    return Ladder(np.concatenate([-down, today, up], axis=1), down.shape[1])


def _packed(price: Floats) -> Floats:
    """Sort each row, drop repetitions, and drop columns that nobody needs; the empty ones stand last."""
    ordered = np.sort(price, axis=1)
    ordered[:, 1:][np.diff(ordered, axis=1) < _SAME] = np.nan
    ordered = np.sort(ordered, axis=1)
    return ordered[:, np.isfinite(ordered).any(axis=0)]


def asked_prices(rules: Sequence[Rule], facts: Facts, low: Floats, high: Floats) -> Floats:
    """List the prices that rules about endings and price points ask for, (P, E), NaN where there is none.

    Args:
        rules: all rules; those of other kinds ask for no price.
        facts: the product table.
        low: (P,) lowest price a product may take, money per unit.
        high: (P,) highest.
    """
    columns: list[Floats] = [np.empty((len(low), 0))]
    for rule in rules:
        asked = _asked(rule, low, high)
        if asked is not None:
            mine = np.zeros(len(low), dtype=np.bool_)
            mine[products_of(rule, facts)] = True
            within = (asked >= low[:, None] * (1 - _SLACK)) & (asked <= high[:, None] * (1 + _SLACK))
            columns.append(np.where(within & mine[:, None] & (asked > 0), asked, np.nan))
    found = np.concatenate(columns, axis=1)
    return found[:, np.isfinite(found).any(axis=0)]


def _asked(rule: Rule, low: Floats, high: Floats) -> Floats | None:
    """Candidates of one rule, (P, E): all price points, or the ending at every whole unit within reach."""
    if rule.kind == "price_ladder":
        return np.broadcast_to(np.array(rule.values["prices"]), (len(low), len(rule.values["prices"])))
    if rule.kind != "price_endings":
        return None
    widest = int(np.ceil(np.nanmax(high - low, initial=0.0))) + 1
    unit = np.floor(low)[:, None] + np.arange(widest + 1)[None, :]
    cents = [np.round((unit + ending) * CENTS) / CENTS for ending in rule.values["endings"]]
    return np.concatenate(cents, axis=1)
