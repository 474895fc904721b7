"""Rules between prices: pack sizes, brand gaps, price families; a row for each pair or product."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from engine.errors import ConfigurationError
from optimizers.rules.basis import Basis, Limit, linear_limit
from optimizers.rules.record import Floats, Ints, Rule
from optimizers.rules.scope import column_of, groups, members
from optimizers.rules.single import PERCENT

MOST_PAIRS = 10_000
"""Pairs of packs in one group."""
RowRule = Callable[[Rule, Basis, Ints], Iterator[Limit]]
_PRIVATE_LABEL = "private_label"


def _pack_size_order(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    size = basis.facts.pack_size
    tolerance = 1 + rule.values["tolerance"]
    for name, found in _comparable(rule, basis, products).items():
        levels = np.unique(size[found])
        _refuse_crowd(rule, name, size[found])
        for small, large in itertools.pairwise(levels):
            for cheap in found[size[found] == small].tolist():
                for big in found[size[found] == large].tolist():
                    yield _not_dearer(basis, name, big, np.array([cheap]), np.array([tolerance / small]), 1 / large)


def _refuse_crowd(rule: Rule, name: str, size: Floats) -> None:
    """Refuse a group in which too many pairs would have to be compared: it is not one of similar products."""
    count = np.unique(size, return_counts=True)[1]
    pairs = int((count[1:] * count[:-1]).sum())
    if pairs > MOST_PAIRS:
        raise ConfigurationError(
            f"rule {rule.name!r}: the group {name!r} has {pairs:,} pairs of packs to compare, at most {MOST_PAIRS:,}; "
            "group by more columns, such as [brand, category]"
        )


def _comparable(rule: Rule, basis: Basis, products: Ints) -> dict[str, Ints]:
    """Groups whose packs are counted in the same unit; products without a pack size are in none."""
    known = products[basis.facts.pack_size[products] > 0]
    unit = basis.facts.texts("unit")
    found: dict[str, Ints] = {}
    for name, rows in groups(rule.values["group_by"], known, basis.facts, f"rule {rule.name!r}").items():
        for word in sorted({unit[row] for row in rows.tolist()}):
            same = np.array([row for row in rows.tolist() if unit[row] == word], dtype=np.int64)
            found[f"{name} ({word})" if word else name] = same
    return found


def _not_dearer(basis: Basis, name: str, product: int, others: Ints, factor: Floats, own: float) -> Limit:
    """Demand own · price(product) <= Σ factor · price(others), in per cent of the right-hand side today."""
    against = float(factor @ basis.problem.current_price[others])
    both = np.append(others, product).astype(np.int64)
    weights = np.append(-factor, own)[:, None] * PERCENT / against
    about = " / ".join(filter(None, (name, basis.problem.product_ids[product])))
    return linear_limit(basis, about, both, weights * basis.ladder.price[both], high=0.0)


def _brand_gap(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    place = f"rule {rule.name!r}, above"
    dearer = members(rule.values["above"], basis.facts, place)
    both = np.intersect1d(products, dearer)
    if len(both):
        named = basis.problem.product_ids[int(both[0])]
        raise ConfigurationError(f"{place}: product {named!r} stands on both sides; the scopes must not overlap")
    yield from _gaps(rule, basis, products, dearer)


def _private_label_gap(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    label = np.array(column_of(_PRIVATE_LABEL, basis.facts, f"rule {rule.name!r}"))
    if not (label[products] == "1").any():
        raise ConfigurationError(f"rule {rule.name!r}: none of its products is private label; widen its scope")
    yield from _gaps(rule, basis, products[label[products] == "1"], np.flatnonzero(label == "0").astype(np.int64))


def _gaps(rule: Rule, basis: Basis, lower: Ints, upper: Ints) -> Iterator[Limit]:
    """For each lower product of a group, its price per unit against the average of the group's upper products."""
    sides = [_by_group(rule, basis, side) for side in (lower, upper)]
    size = basis.facts.pack_size if rule.values["per"] == "unit" else np.ones(len(basis.facts.pack_size))
    for name, cheap in sides[0].items():
        dear = sides[1].get(name)
        if dear is not None:
            share = _weights(basis.revenue[dear]) / size[dear]
            for product in cheap.tolist():
                yield from _gap(rule, basis, name, product, dear, share, 1 / float(size[product]))


def _by_group(rule: Rule, basis: Basis, products: Ints) -> dict[str, Ints]:
    if rule.values["per"] == "unit":
        return _comparable(rule, basis, products)
    return groups(rule.values["group_by"], products, basis.facts, f"rule {rule.name!r}")


def _weights(revenue: Floats) -> Floats:
    total = float(revenue.sum())
    return revenue / total if total > 0 else np.full(len(revenue), 1 / len(revenue))


def _gap(rule: Rule, basis: Basis, name: str, product: int, dear: Ints, share: Floats, own: float) -> Iterator[Limit]:
    """Bound 100 · (1 - own price / average price) from below and above, times the average price today over then."""
    average = float(share @ basis.problem.current_price[dear])
    both = np.append(dear, product).astype(np.int64)
    about = " / ".join(filter(None, (name, basis.problem.product_ids[product])))
    for key, sign in (("at_least", 1.0), ("at_most", -1.0)):
        gap = rule.values[key]
        if gap is not None:
            weights = sign * np.append(-(1 - gap) * share, own)[:, None] * PERCENT / average
            yield linear_limit(basis, about, both, weights * basis.ladder.price[both], high=0.0)


def _move_together(rule: Rule, basis: Basis, products: Ints) -> Iterator[Limit]:
    band = PERCENT * rule.values["tolerance"]
    for name, family in groups(rule.values["group_by"], products, basis.facts, f"rule {rule.name!r}").items():
        leader = family[int(np.argmax(basis.revenue[family]))]
        for product in family[family != leader].tolist():
            pair = np.array([product, leader])
            value = PERCENT * np.array([[1.0], [-1.0]]) * basis.moves(pair)
            yield linear_limit(
                basis, f"{name} / {basis.problem.product_ids[product]}", pair, value, low=-band, high=band
            )


BETWEEN: Mapping[str, RowRule] = {
    "pack_size_order": _pack_size_order,
    "brand_gap": _brand_gap,
    "private_label_gap": _private_label_gap,
    "move_together": _move_together,
}
