"""Targeting rules as data: which units an experiment speaks of, in the form of GrowthBook's conditions.

    {"country": {"$in": ["DE", "FR"]}, "age": {"$gte": 18}, "$not": {"plan": "free"}}

All entries of a rule must hold. A rule names columns of a table; it runs over the whole column at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason

if TYPE_CHECKING:
    import pandas as pd

Mask = npt.NDArray[np.bool_]
Column = tuple[npt.NDArray[Any], Mask]
_ORDERINGS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}
OPERATORS = ("$eq", "$ne", *_ORDERINGS, "$in", "$nin", "$exists")
"""What may be asked of a column."""


def matches(rule: Mapping[str, Any], table: pd.DataFrame) -> Mask:
    """Say which rows of a table a rule holds for.

    A missing value equals nothing and stands in no order; `{"$exists": false}` finds it. Text and numbers never match.

    Args:
        rule: columns with a value or with operators (`OPERATORS`), joined by `$and`, `$or`, `$nor`, `$not`.
        table: (n) rows.

    Returns:
        (n,) booleans.

    Raises:
        ProblemError: an unknown column or operator, or a value of the wrong form.
    """

    def column(name: str) -> Column:
        return table[name].to_numpy(dtype=object), np.asarray(table[name].isna())

    return _mask(rule, _Columns(tuple(map(str, table.columns)), len(table), column))


def matches_one(rule: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    """Say whether a rule holds for one unit; an attribute that is None or NaN is missing. See `matches`.

    Raises:
        ProblemError: as `matches`.
    """

    def column(name: str) -> Column:
        values = np.empty(1, dtype=object)
        values[0] = attributes[name]
        return values, np.array([values[0] is None or values[0] != values[0]])

    return bool(_mask(rule, _Columns(tuple(attributes), 1, column))[0])


@dataclass(frozen=True)
class _Columns:
    """What a rule may ask about: `of` gives the values of a column, and which are missing."""

    names: tuple[str, ...]
    rows: int
    of: Callable[[str], Column]


def _mask(rule: Mapping[str, Any], table: _Columns) -> Mask:
    if not isinstance(rule, Mapping):
        raise ProblemError(
            Reason("targeting rule {rule!r} must be a mapping of columns to values or operators", {"rule": rule})
        )
    mask = np.ones(table.rows, dtype=bool)
    for key, wanted in rule.items():
        mask &= _joined(key, wanted, table) if key.startswith("$") else _column(key, wanted, table)
    return mask


def _joined(word: str, parts: Any, table: _Columns) -> Mask:  # noqa: ANN401 - checked here
    if word == "$not":
        return ~_mask(parts, table)
    if word not in {"$and", "$or", "$nor"}:
        raise ProblemError(Reason("targeting: {word!r} is unknown; there are $and, $or, $nor, $not", {"word": word}))
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise ProblemError(
            Reason("targeting: {word} needs a list of rules, not {parts!r}", {"word": word, "parts": parts})
        )
    found = [_mask(part, table) for part in parts]
    if word == "$and" or not found:
        return np.logical_and.reduce(found) if found else np.full(table.rows, word != "$nor")
    either: Mask = np.logical_or.reduce(found)
    return ~either if word == "$nor" else either


def _column(name: str, wanted: Any, table: _Columns) -> Mask:  # noqa: ANN401
    if name not in table.names:
        raise ProblemError(
            Reason("targeting: no column {name!r}; there are {known}", {"name": name, "known": ", ".join(table.names)})
        )
    values, missing = table.of(name)
    if not (isinstance(wanted, Mapping) and wanted and all(str(key).startswith("$") for key in wanted)):
        return _equal(values, missing, wanted)
    mask = np.ones(table.rows, dtype=bool)
    for word, value in wanted.items():
        mask &= _asked(name, word, values, missing, value)
    return mask


def _asked(name: str, word: str, values: npt.NDArray[Any], missing: Mask, wanted: Any) -> Mask:  # noqa: ANN401
    if word in {"$eq", "$ne"}:
        equal = _equal(values, missing, wanted)
        return equal if word == "$eq" else ~equal
    if word in {"$in", "$nin"}:
        if not isinstance(wanted, Sequence) or isinstance(wanted, str):
            raise ProblemError(
                Reason(
                    "targeting: {name} {word} needs a list, not {wanted!r}",
                    {"name": name, "word": word, "wanted": wanted},
                )
            )
        among = np.zeros(values.size, dtype=bool)
        for one in wanted:
            among |= _equal(values, missing, one)
        return among if word == "$in" else ~among
    if word == "$exists":
        return ~missing if wanted else missing
    if word in _ORDERINGS:
        return _ordered(name, word, values, missing, wanted)
    raise ProblemError(
        Reason(
            "targeting: {name}: {word!r} is unknown; there are {known}",
            {"name": name, "word": word, "known": ", ".join(OPERATORS)},
        )
    )


def _kind(value: object) -> str:
    """Kind of a value, as JSON tells them apart."""
    if isinstance(value, bool | np.bool_):
        return "boolean"
    return "number" if isinstance(value, int | float | np.number) else type(value).__name__


def _of_kind(values: npt.NDArray[Any], missing: Mask, wanted: object) -> Mask:
    kind = _kind(wanted)
    return np.fromiter((_kind(value) == kind for value in values.tolist()), bool, values.size) & ~missing


def _equal(values: npt.NDArray[Any], missing: Mask, wanted: object) -> Mask:
    if wanted is None:
        return missing
    mask = _of_kind(values, missing, wanted)
    mask[mask] = np.asarray(values[mask] == wanted, dtype=bool)
    return mask


def _ordered(name: str, word: str, values: npt.NDArray[Any], missing: Mask, wanted: object) -> Mask:
    if _kind(wanted) not in {"number", "str"}:
        raise ProblemError(
            Reason(
                "targeting: {name} {word} needs a number or a text, not {wanted!r}",
                {"name": name, "word": word, "wanted": wanted},
            )
        )
    mask = _of_kind(values, missing, wanted)
    mask[mask] = np.asarray(_ORDERINGS[word](values[mask], wanted), dtype=bool)
    return mask
