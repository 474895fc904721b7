"""Which products a rule speaks of, and how they group: read off the product table, never guessed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import ConfigurationError
from optimizers.rules.read import nearest
from optimizers.rules.record import Facts, Ints, Rule, Scope


def members(scope: Scope, facts: Facts, place: str) -> Ints:
    """Find the products of a scope.

    Args:
        scope: conditions; all must hold.
        facts: the product table.
        place: what the scope belongs to, for the message.

    Returns:
        Row numbers, ascending; none where the scope names only products that the plan does not speak of.

    Raises:
        ConfigurationError: a column or a value that no product has (the nearest is named), or conditions that no
            product meets together.
    """
    chosen = np.ones(len(facts.pack_size), dtype=np.bool_)
    for column, wanted in scope.conditions:
        texts = column_of(column, facts, place)
        known = set(texts) | facts.elsewhere.get(column, frozenset())
        for value in wanted:
            if value not in known:
                raise ConfigurationError(f"{place}: no product has {column} {value!r}{nearest(value, sorted(known))}")
        chosen &= np.array([text in wanted for text in texts], dtype=np.bool_)
    if not chosen.any() and len(scope.conditions) > 1:
        raise ConfigurationError(f"{place}: no product meets all of {scope.words()}")
    return np.flatnonzero(chosen).astype(np.int64)


def column_of(column: str, facts: Facts, place: str) -> tuple[str, ...]:
    """(P,) texts of a column.

    Raises:
        ConfigurationError: the product table has no such column, or nothing in it.
    """
    known = sorted(name for name, texts in facts.columns.items() if any(texts))
    if column not in known:
        raise ConfigurationError(
            f"{place}: the products have no {column!r}{nearest(column, known)}; known are {', '.join(known)}"
        )
    return facts.columns[column]


def groups(columns: Sequence[str], products: Ints, facts: Facts, place: str) -> dict[str, Ints]:
    """Split products by what they have in these columns; without columns, one group named "".

    A product with nothing in one of the columns is in no group.

    Returns:
        Name of the group (its values, joined) -> row numbers, in order of first appearance.
    """
    found: dict[str, list[int]] = {}
    texts = [column_of(column, facts, place) for column in columns]
    for product in products.tolist():
        values = [column[product] for column in texts]
        if all(values):
            found.setdefault(" · ".join(values), []).append(product)
    return {name: np.array(rows, dtype=np.int64) for name, rows in found.items()}


def products_of(rule: Rule, facts: Facts) -> Ints:
    """Find the products of a rule; see `members`."""
    return members(rule.scope, facts, f"rule {rule.name!r}")


def check_scopes(rules: Sequence[Rule], facts: Facts) -> None:
    """Refuse rules that name what the shop does not have, before anything slow is begun.

    Raises:
        ConfigurationError: see `members`; the message lists every fault.
    """
    faults: list[str] = []
    for rule in rules:
        try:
            products_of(rule, facts)
        except ConfigurationError as error:
            faults.append(str(error))
    if faults:
        raise ConfigurationError("\n  ".join(faults))
