"""The independent re-check of business rules: shares no code with their compiler, the ladder or the solver.

Written for plainness, product by product, from what `docs/rules.md` says each kind asks. Every rule is measured by
how much the prices break it, in the kind's unit of violation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engine.errors import PlanError
from optimizers.prices.check import bent
from optimizers.prices.problem import PriceProblem
from optimizers.rules.record import Facts, Rule, Scope

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Units of violation (a ten-thousandth of a percentage point) that count as kept."""
_CENT = 0.01


def check_rules(problem: PriceProblem, facts: Facts, rules: Sequence[Rule], price: Floats) -> None:
    """Make sure that prices (P,) keep every hard rule.

    Raises:
        PlanError: a rule is broken; the message names it, where, and by how much.
    """
    faults = [fault for rule in rules if rule.hard for fault in broken(problem, facts, rule, price)]
    if faults:
        raise PlanError("the price plan failed its re-check and was not used: " + "; ".join(faults[:20]))


def fines(problem: PriceProblem, facts: Facts, rules: Sequence[Rule], price: Floats) -> float:
    """Add up what prices (P,) pay for breaking soft rules, money."""
    return math.fsum(
        rule.penalty * amount * _growth(problem, facts, rule, price).get(about, 1.0)
        for rule in rules
        if rule.penalty is not None
        for about, amount in _beyond_today(problem, facts, rule, price).items()
    )


def _growth(problem: PriceProblem, facts: Facts, rule: Rule, price: Floats) -> dict[str, float]:
    """Revenue over today's by group: a missing margin is fined in per cents of today's revenue, not of the plan's."""
    if rule.kind != "group_margin_floor":
        return {}
    chosen = [i for i in range(len(problem.product_ids)) if _in_scope(rule.scope, facts, i)]
    after = expected_units(problem, price) * price
    before = expected_units(problem, problem.current_price) * problem.current_price
    groups = _groups(facts, rule.values["by"], chosen).items()
    return {" ".join(key): float(after[rows].sum() / before[rows].sum()) for key, rows in groups if before[rows].sum()}


def _beyond_today(problem: PriceProblem, facts: Facts, rule: Rule, price: Floats) -> dict[str, float]:
    """Violations less what today's prices break already, where the rule is `no_worse`."""
    found = violations(problem, facts, rule, price)
    today = violations(problem, facts, rule, problem.current_price) if rule.today == "no_worse" else {}
    return {about: max(amount - today.get(about, 0.0), 0.0) for about, amount in found.items()}


def broken(problem: PriceProblem, facts: Facts, rule: Rule, price: Floats) -> list[str]:
    """Say where and by how much prices (P,) break a rule; a rule that is `no_worse` is broken where today is better."""
    return [
        f"the rule {rule.name!r} is broken at {about or 'the whole'} by {amount:.6g} units of violation"
        for about, amount in _beyond_today(problem, facts, rule, price).items()
        if amount > TOLERANCE
    ]


def violations(problem: PriceProblem, facts: Facts, rule: Rule, price: Floats) -> dict[str, float]:
    """Measure a rule: what it speaks of (a product, a pair, a group) -> units of violation, 0 where it is kept."""
    chosen = [i for i in range(len(problem.product_ids)) if _in_scope(rule.scope, facts, i)]
    if rule.kind in _SINGLE:
        measure = _SINGLE[rule.kind]
        return {problem.product_ids[i]: measure(problem, facts, rule.values, i, float(price[i])) for i in chosen}
    return dict(_SEVERAL[rule.kind](problem, facts, rule.values, chosen, price))


def _in_scope(scope: Scope, facts: Facts, i: int) -> bool:
    return all(facts.columns[column][i] in wanted for column, wanted in scope.conditions)


def _outside(value: float, low: float | None, high: float | None) -> float:
    over = 0.0 if high is None else value - high
    under = 0.0 if low is None else low - value
    return 100 * max(over, under, 0.0)


def _max_change(problem: PriceProblem, _facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    move = price / float(problem.current_price[i]) - 1
    down = _number(values["down"])
    return _outside(move, None if down is None else -down, _number(values["up"]))


def _min_step(problem: PriceProblem, _facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    today = float(problem.current_price[i])
    least = max(_given(values["share"]) * today, _given(values["money"]))
    return float(price != today and abs(price - today) < least - 1e-9)


def _margin(problem: PriceProblem, _facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    return _outside((price - float(problem.unit_cost[i])) / price, _number(values["at_least"]), None)


def _ending(problem: PriceProblem, _facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    if price == problem.current_price[i]:
        return 0.0
    fraction = round(price * 100) % 100 / 100
    return float(all(abs(fraction - ending) > _CENT / 2 for ending in _list(values["endings"])))


def _price_point(problem: PriceProblem, _facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    return float(price != problem.current_price[i] and all(abs(price - p) > _CENT / 2 for p in _list(values["prices"])))


def _competitor(_problem: PriceProblem, facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    theirs = float(facts.competitor_price[i])
    below = _number(values["below"])
    gap = price / theirs - 1 if theirs > 0 else math.nan
    return 0.0 if math.isnan(gap) else _outside(gap, None if below is None else -below, _number(values["above"]))


def _days(problem: PriceProblem, facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    return float(price != problem.current_price[i] and facts.days_since_change[i] < _given(values["days"]))


def _lowest(problem: PriceProblem, facts: Facts, values: Mapping[str, object], i: int, price: float) -> float:
    if price >= problem.current_price[i]:
        return 0.0
    lowest = float(facts.lowest_price[i])
    reduced = price < lowest - _CENT / 4 and price <= lowest * (1 - _given(values["at_least"])) + 1e-7
    return float(not reduced)


def _frozen(problem: PriceProblem, _facts: Facts, _values: Mapping[str, object], i: int, price: float) -> float:
    return float(price != problem.current_price[i])


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _given(value: object) -> float:
    return float(value)  # type: ignore[arg-type]


def _list(value: object) -> list[float]:
    return [float(item) for item in value]  # type: ignore[attr-defined]


_Single = Callable[[PriceProblem, Facts, Mapping[str, object], int, float], float]
_Several = Callable[[PriceProblem, Facts, Mapping[str, object], list[int], Floats], Iterator[tuple[str, float]]]

_SINGLE: Mapping[str, _Single] = {
    "max_change": _max_change,
    "min_step": _min_step,
    "margin_floor": _margin,
    "price_endings": _ending,
    "price_ladder": _price_point,
    "competitor_gap": _competitor,
    "min_days_between_changes": _days,
    "lowest_price_30_days": _lowest,
    "frozen": _frozen,
}


def _groups(facts: Facts, columns: object, chosen: list[int]) -> dict[tuple[str, ...], list[int]]:
    """Split by one column, several or none; who has nothing in one of them is left out."""
    names = [columns] if isinstance(columns, str) else list(columns or ())  # type: ignore[call-overload]
    found: dict[tuple[str, ...], list[int]] = {}
    for i in chosen:
        key = tuple(facts.columns[name][i] for name in names)
        if "" not in key:
            found.setdefault(key, []).append(i)
    return found


def _same_unit(facts: Facts, i: int, j: int) -> bool:
    unit = facts.columns.get("unit")
    return unit is None or unit[i] == unit[j]


def _pack_sizes(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    size = facts.pack_size
    for family in _groups(facts, values["group_by"], [i for i in chosen if size[i] > 0]).values():
        for i in family:
            larger = [j for j in family if size[j] > size[i] and _same_unit(facts, i, j)]
            following = min((size[j] for j in larger), default=math.nan)
            for j in (j for j in larger if size[j] == following):
                limit = float(price[i] / size[i]) * (1 + _given(values["tolerance"]))
                over = max(float(price[j] / size[j]) - limit, 0.0)
                against = float(problem.current_price[i] / size[i]) * (1 + _given(values["tolerance"]))
                yield f"{problem.product_ids[i]} and {problem.product_ids[j]}", 100 * over / against


def _brand_gap(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    above = values["above"]
    dear = [i for i in range(len(price)) if isinstance(above, Scope) and _in_scope(above, facts, i)]
    yield from _gaps(problem, facts, values, (chosen, dear), price)


def _label_gap(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    label = facts.columns["private_label"]
    cheap = [i for i in chosen if label[i] == "1"]
    dear = [i for i in range(len(price)) if label[i] == "0"]
    yield from _gaps(problem, facts, values, (cheap, dear), price)


def _gaps(
    problem: PriceProblem,
    facts: Facts,
    values: Mapping[str, object],
    sides: tuple[list[int], list[int]],
    price: Floats,
) -> Iterator[tuple[str, float]]:
    per_unit = values["per"] == "unit"
    size = [float(s) if per_unit else 1.0 for s in facts.pack_size]
    cheap, dear = ([i for i in side if size[i] > 0] for side in sides)
    against = _groups(facts, values["group_by"], dear)
    for key, members in _groups(facts, values["group_by"], cheap).items():
        for i in members:
            rivals = [j for j in against.get(key, []) if not per_unit or _same_unit(facts, i, j)]
            if rivals:
                average = _average(problem, rivals, size, price)
                today = _average(problem, rivals, size, problem.current_price)
                gap = (average - float(price[i]) / size[i]) / average
                outside = _outside(gap, _number(values["at_least"]), _number(values["at_most"]))
                yield problem.product_ids[i], outside * average / today


def _average(problem: PriceProblem, rivals: list[int], size: list[float], price: Floats) -> float:
    """Price per unit, weighted by today's revenue (equally where there is none)."""
    revenue = [float(problem.current_price[j] * problem.base_units[j]) for j in rivals]
    if sum(revenue) <= 0:
        revenue = [1.0] * len(rivals)
    each = [float(price[j]) / size[j] for j in rivals]
    return math.fsum(r * p for r, p in zip(revenue, each, strict=True)) / math.fsum(revenue)


def _together(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    moves = price / problem.current_price - 1
    for family in _groups(facts, values["group_by"], chosen).values():
        revenue = {i: float(problem.current_price[i] * problem.base_units[i]) for i in family}
        leader = max(family, key=lambda i: revenue[i])
        for i in family:
            apart = abs(float(moves[i] - moves[leader])) - _given(values["tolerance"])
            yield problem.product_ids[i], 100 * max(apart, 0.0)


def _changes(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    for key, members in _groups(facts, values["by"], chosen).items():
        changed = sum(float(price[i]) != float(problem.current_price[i]) for i in members)
        most, share = _number(values["at_most"]), _number(values["share"])
        limit = min(math.inf if most is None else most, math.inf if share is None else share * len(members) + 1e-9)
        yield " ".join(key), max(changed - math.floor(limit), 0.0) if math.isfinite(limit) else 0.0


def _index(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    for key, members in _groups(facts, values["by"], chosen).items():
        before = math.fsum(float(problem.base_units[i] * problem.current_price[i]) for i in members)
        after = math.fsum(float(problem.base_units[i] * price[i]) for i in members)
        if before > 0:
            yield " ".join(key), _outside(after / before - 1, _number(values["low"]), _number(values["high"]))


def _units_floor(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    after, before = expected_units(problem, price), expected_units(problem, problem.current_price)
    for key, members in _groups(facts, values["by"], chosen).items():
        if before[members].sum() > 0:
            share = float(after[members].sum() / before[members].sum())
            yield " ".join(key), _outside(share, _number(values["at_least"]), None)


def _revenue_floor(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    after = expected_units(problem, price) * price
    before = expected_units(problem, problem.current_price) * problem.current_price
    for key, members in _groups(facts, values["by"], chosen).items():
        if before[members].sum() > 0:
            share = float(after[members].sum() / before[members].sum())
            yield " ".join(key), _outside(share, _number(values["at_least"]), None)


def _group_margin(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    units = expected_units(problem, price)
    for key, members in _groups(facts, values["by"], chosen).items():
        revenue = float((units * price)[members].sum())
        profit = float((units * (price - problem.unit_cost))[members].sum())
        if revenue > 0:
            yield " ".join(key), _outside(profit / revenue, _number(values["at_least"]), None)


def _stock(
    problem: PriceProblem, facts: Facts, values: Mapping[str, object], chosen: list[int], price: Floats
) -> Iterator[tuple[str, float]]:
    units = expected_units(problem, price)
    for i in chosen:
        stock = float(facts.stock[i])
        if math.isfinite(stock):
            over = max(float(units[i]) - _given(values["share"]) * stock, 0.0)
            yield problem.product_ids[i], 100 * over / max(stock, 1e-9)


_SEVERAL: Mapping[str, _Several] = {
    "pack_size_order": _pack_sizes,
    "brand_gap": _brand_gap,
    "private_label_gap": _label_gap,
    "move_together": _together,
    "max_changes": _changes,
    "price_index": _index,
    "volume_floor": _units_floor,
    "revenue_floor": _revenue_floor,
    "group_margin_floor": _group_margin,
    "stock_cover": _stock,
}


def expected_units(problem: PriceProblem, price: Floats) -> Floats:
    """Units over the horizon at prices (P,), (P,), the mean over the draws of the stated demand, family by family."""
    ratio = price / problem.current_price
    revenue = problem.current_price * problem.base_units
    counted = revenue if problem.index_weight is None else problem.index_weight
    units = np.empty(len(price))
    families: dict[int, list[int]] = {}
    for i, code in enumerate(problem.family.tolist()):
        families.setdefault(code, []).append(i)
    for members in families.values():
        for i in members:
            others = [j for j in members if j != i]
            weight = float(counted[others].sum())
            index = math.exp(float(counted[others] @ np.log(ratio[others])) / weight) if weight > 0 else 1.0
            moved = np.exp(problem.own[:, i] * bent(float(ratio[i]), problem.curvature))
            draws = problem.base_scale[:, i] * moved * index ** problem.cross[:, i]
            units[i] = problem.base_units[i] * float(draws.mean())
    return units
