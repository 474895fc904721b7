"""Rules as somebody wrote them down (a YAML file, or a list in config.yaml) → checked records."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from engine.errors import ConfigurationError
from optimizers.rules.kinds import KINDS, Kind, Parameter
from optimizers.rules.record import MUST_HOLD, NO_WORSE, Rule, RuleBook, Scope

COMMON = ("name", "kind", "scope", "soft", "today", "start", "end", "owner", "weight")
"""Keys of every rule; all others are parameters of its kind."""
SECTIONS = ("rules", "families", "competitor_prices", "stock")
PRODUCTS = ("products", "product_id")
T = TypeVar("T")
_TABLES = {"competitor_prices": "price", "stock": "units"}


def read_rules(source: str | Path | Sequence[Mapping[str, Any]]) -> RuleBook:
    """Read rules.

    Args:
        source: path of a YAML file with the sections `SECTIONS`, or the list of rules itself.

    Returns:
        Rules in the order in which they were written, every parameter given or at its default.

    Raises:
        ConfigurationError: the file cannot be read, or a rule has an unknown kind or key (the nearest is named), a
            value out of range, or the name of another rule; the message lists every fault.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _book(_tree(path), str(path), path.parent)
    return _book({"rules": list(source)}, "pricing.rules", Path())


def nearest(word: str, known: Iterable[str]) -> str:
    """Name the most similar of the known words as a question, or nothing where none is similar."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _tree(path: Path) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such file of rules; pricing.rules names it") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML ({error})") from error
    if isinstance(tree, list):
        tree = {"rules": tree}
    if not isinstance(tree, Mapping):
        raise ConfigurationError(f"{path}: expected a section 'rules:' with a list of rules, found {tree!r:.60}")
    return tree


def _book(tree: Mapping[str, Any], origin: str, folder: Path) -> RuleBook:
    unknown = [f"{origin}: unknown section {key!r}{nearest(str(key), SECTIONS)}" for key in tree if key not in SECTIONS]
    listed = tree.get("rules") or []
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ConfigurationError(f"{origin}: 'rules' is {listed!r:.60}; write a list of rules")
    faults = _Faults(unknown)
    rules = [faults.collect(partial(read_rule, raw, f"{origin}, rule {i}")) for i, raw in enumerate(listed, 1)]
    families = faults.collect(partial(_families, tree.get("families"), origin))
    tables = {key: faults.collect(partial(_numbers, tree.get(key), key, origin, folder)) for key in _TABLES}
    names = [rule.name for rule in rules if rule is not None]
    faults.found += [f"{origin}: two rules are named {name!r}; give each its own name" for name in _twice(names)]
    if faults.found:
        raise ConfigurationError("\n  ".join(faults.found))
    return RuleBook(
        tuple(rule for rule in rules if rule is not None),
        families or {},
        tables["competitor_prices"] or {},
        tables["stock"] or {},
    )


class _Faults:
    """Collects refusals, so that all of them are told at once."""

    def __init__(self, found: list[str]) -> None:
        self.found = found

    def collect(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ConfigurationError as error:
            self.found.append(str(error))
            return None


def _twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def read_rule(raw: object, origin: str) -> Rule:
    """Read one rule.

    Raises:
        ConfigurationError: see `read_rules`.
    """
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{origin} is {raw!r:.60}; write it as keys and values, beginning with name and kind")
    name = str(raw.get("name") or "").strip()
    if not name:
        raise ConfigurationError(f"{origin} has no name; give it one in your own words")
    place = f"rule {name!r}"
    kind = _kind(raw.get("kind"), place)
    known = [*COMMON, *(parameter.name for parameter in kind.parameters)]
    unknown = [f"unknown key {key!r}{nearest(str(key), known)}" for key in raw if key not in known]
    if unknown:
        raise ConfigurationError(f"{place} ({kind.name}): {'; '.join(unknown)}; known are {', '.join(known)}")
    return Rule(
        name=name,
        kind=kind.name,
        scope=read_scope(raw.get("scope"), place),
        values=_values(raw, kind, place),
        penalty=_penalty(raw.get("soft"), place),
        today=_choice(raw.get("today", MUST_HOLD), "today", (MUST_HOLD, NO_WORSE), place),
        start=_day(raw.get("start"), "start", place),
        end=_end(raw, place),
        owner=str(raw.get("owner") or ""),
        weight=_number(raw.get("weight", 1.0), Parameter("weight", "number", "", low=1e-6, high=1e6), place),
    )


def read_scope(raw: object, place: str) -> Scope:
    """Read a scope: nothing (all products), or columns of the product table with a value or a list of values.

    Raises:
        ConfigurationError: it is neither.
    """
    if raw in (None, {}, "all"):
        return Scope()
    if not isinstance(raw, Mapping):
        raise ConfigurationError(
            f"{place}: scope is {raw!r:.60}; write columns and values, such as {{category: JUICE}}"
        )
    return Scope(tuple((_column(str(key)), _texts(value, f"{place}: scope {key}")) for key, value in raw.items()))


def _column(key: str) -> str:
    return PRODUCTS[1] if key in PRODUCTS else key


def _texts(value: object, place: str) -> tuple[str, ...]:
    listed = value if isinstance(value, list | tuple) else [value]
    texts = tuple(str(int(item)) if isinstance(item, bool) else str(item) for item in listed if item is not None)
    if not texts:
        raise ConfigurationError(f"{place} names no value; name at least one, or leave the column out")
    return texts


def _kind(raw: object, place: str) -> Kind:
    if raw not in KINDS:
        raise ConfigurationError(
            f"{place}: unknown kind {raw!r}{nearest(str(raw), KINDS)}; known are {', '.join(sorted(KINDS))}"
        )
    return KINDS[str(raw)]


def _values(raw: Mapping[str, Any], kind: Kind, place: str) -> dict[str, Any]:
    missing = [p.name for p in kind.parameters if p.required and raw.get(p.name) is None]
    if missing:
        raise ConfigurationError(f"{place} ({kind.name}): {missing[0]} is missing; give it ({kind.asks})")
    if kind.at_least_one and all(raw.get(name) is None for name in kind.at_least_one):
        raise ConfigurationError(f"{place} ({kind.name}): give at least one of {', '.join(kind.at_least_one)}")
    values = {
        p.name: _value(raw[p.name], p, place) if raw.get(p.name) is not None else p.default for p in kind.parameters
    }
    low, high = (values.get(name) for name in (("at_least", "at_most") if "at_most" in values else ("low", "high")))
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise ConfigurationError(f"{place} ({kind.name}): its lower limit {low:g} lies above its upper limit {high:g}")
    return values


def _value(raw: object, parameter: Parameter, place: str) -> object:
    if parameter.type in ("number", "whole"):
        value = _number(raw, parameter, place)
        if parameter.type == "whole" and value != int(value):
            raise ConfigurationError(f"{place}: {parameter.name} is {raw!r}; give a whole number")
        return int(value) if parameter.type == "whole" else value
    if parameter.type == "numbers":
        listed = raw if isinstance(raw, list | tuple) else [raw]
        if not listed:
            raise ConfigurationError(f"{place}: {parameter.name} is empty; give at least one number")
        return tuple(sorted({_number(item, parameter, place) for item in listed}))
    if parameter.type == "scope":
        return read_scope(raw, f"{place}, {parameter.name}")
    if parameter.type == "choice":
        return _choice(raw, parameter.name, parameter.choices, place)
    return tuple(str(item) for item in raw) if isinstance(raw, list | tuple) else _named(raw, parameter)


def _named(raw: object, parameter: Parameter) -> object:
    return (str(raw),) if parameter.type == "columns" else str(raw)


def _number(raw: object, parameter: Parameter, place: str) -> float:
    number = isinstance(raw, int | float) and not isinstance(raw, bool)
    value = float(raw) if number else math.nan  # type: ignore[arg-type]
    if not parameter.low <= value <= parameter.high:
        limits = f"a number from {parameter.low:g} to {parameter.high:g}"
        raise ConfigurationError(f"{place}: {parameter.name} is {raw!r}; give {limits}")
    return value


def _penalty(raw: object, place: str) -> float | None:
    if raw is None or raw is False:
        return None
    return _number(raw, Parameter("soft", "number", "", high=1e12), place)


def _choice(raw: object, key: str, allowed: Sequence[str], place: str) -> str:
    if raw not in allowed:
        raise ConfigurationError(f"{place}: {key} is {raw!r}; allowed: {', '.join(allowed)}")
    return str(raw)


def _day(raw: object, key: str, place: str) -> date | None:
    if raw is None or type(raw) is date:
        return raw
    try:
        return date.fromisoformat(str(raw))
    except ValueError as error:
        raise ConfigurationError(f"{place}: {key} is {raw!r}; write a date such as 2026-11-30") from error


def _end(raw: Mapping[str, Any], place: str) -> date | None:
    start, end = _day(raw.get("start"), "start", place), _day(raw.get("end"), "end", place)
    if start is not None and end is not None and end < start:
        raise ConfigurationError(f"{place}: it ends on {end}, before it starts on {start}")
    return end


def _families(raw: object, origin: str) -> dict[str, tuple[str, ...]]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{origin}: 'families' is {raw!r:.60}; write a name and a list of products for each")
    families = {str(name): _texts(products, f"{origin}: family {name}") for name, products in raw.items()}
    double = _twice([product for products in families.values() for product in products])
    if double:
        raise ConfigurationError(f"{origin}: product {double[0]!r} stands in two families; a product has one")
    return families


def _numbers(raw: object, key: str, origin: str, folder: Path) -> dict[str, float]:
    """A table product → number, written out or in a CSV file beside the rules."""
    if raw is None:
        return {}
    place = f"{origin}: {key}"
    if isinstance(raw, str):
        raw = _csv(folder / raw, _TABLES[key], place)
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{place} is {raw!r:.60}; write product: number, or the name of a CSV file")
    low = 0.01 if key == "competitor_prices" else 0.0
    return {str(p): _number(v, Parameter(str(p), "number", "", low=low, high=1e12), place) for p, v in raw.items()}


def _csv(path: Path, column: str, place: str) -> dict[str, float]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["product_id"]: float(row[column]) for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{place}: {path} needs the columns product_id and {column} ({error})") from error
