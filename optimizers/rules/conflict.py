"""Why no plan exists: the smallest set of rules that contradict each other, and what it would cost least to give up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import InfeasibleError
from engine.proposal import N_, Reason, Sentence
from optimizers.prices.ladder import Ladder, LadderRules, build_ladder, joined
from optimizers.rules.basis import Basis, Compiled, Excess
from optimizers.rules.compile import TOLERANCE, compile_rules
from optimizers.rules.elastic import Elastic, elastic_model
from optimizers.rules.kinds import KINDS
from optimizers.rules.record import Floats, Rule
from optimizers.rules.single import PERCENT
from optimizers.rules.smallest import smallest_contradiction

HELD = N_("held products (their response is not known)")
SEEN_RANGE = N_("prices stay where they were seen before")
CONTRADICTION = (
    "no prices keep all rules at once: {rules} cannot be kept together{places}; the cheapest way out: {relaxations}"
)
IMPOSSIBLE = "no prices within reach keep {rules}{places}; the cheapest way out: {relaxations}"
NO_WAY_OUT = "no prices keep all rules at once: {rules} cannot be kept together{places}; no way out was found in time"
NOT_NARROWED = (
    "no prices keep all rules at once; which of them contradict each other was not found in time, but giving way on "
    "{rules} would help: {relaxations}"
)
LOST = "no prices keep all rules at once; neither which contradict each other nor a way out was found in time"
UNEXPLAINED = (
    "no prices that keep all rules were found, though no set of rules contradicts itself to first order: the floors on "
    "units, revenue or margin fail through substitution; relax one of {rules}"
)
RELAX = {
    "amount": "relax “{rule}” by {amount:.3g} {unit}",
    "parameter": "relax “{rule}” by {amount:.3g} {unit} ({parameter}: {old:g} → {new:.4g})",
    "count": "exempt {amount:.0f} {unit} from “{rule}”",
}
PLACES = " (for example {products})"
BOTH = N_("{first}; {second}")
QUOTED = "“{name}”"
AND = N_("{first} and {second}")
COMMA = N_("{first}, {second}")
WIDER = 2.0
"""How much further than pricing.max_change the way out may lead."""
MOST_NAMED = 3
SECONDS_TO_GROW = 2.0
_SIDES = {"at_least": -1.0, "low": -1.0}
"""Parameters that are relaxed downward; all others upward."""


@dataclass(frozen=True)
class Relaxation:
    """What one rule would have to give."""

    rule: str
    amount: float
    """Units of violation."""
    unit: str
    sentence: Reason


@dataclass(frozen=True)
class Conflict:
    """Why no plan exists."""

    rules: tuple[str, ...]
    """Names of the smallest set that cannot be kept together; settings and held products count as rules. Where
    `smallest` is False: of those that have to give way in the way out that was found."""
    owners: tuple[str, ...]
    """Owner of each; "" where none is named."""
    products: tuple[str, ...]
    """Where it was met, at most `MOST_NAMED` identifiers; empty where the whole shop is concerned."""
    smallest: bool
    """False: time ran out before a smaller set was ruled out."""
    relaxations: tuple[Relaxation, ...]
    """The cheapest way to make a plan possible, all contradictions at once."""
    reason: Reason

    def record(self) -> dict[str, Any]:
        """The conflict as plain values, for a proposal's summary."""
        return {
            "rules": list(self.rules),
            "owners": list(self.owners),
            "products": list(self.products),
            "smallest": self.smallest,
            "relaxations": [{"rule": r.rule, "amount": r.amount, "unit": r.unit} for r in self.relaxations],
            "sentence": self.reason.english(),
        }


class RuleConflictError(InfeasibleError):
    """No plan keeps all rules; carries the explanation as a record."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict.reason)
        self.conflict = conflict

    @property
    def explanation(self) -> Mapping[str, Any]:
        """The conflict as plain values."""
        return self.conflict.record()


def diagnose(basis: Basis, rules: Sequence[Rule], *, seconds: float = 30.0) -> Conflict:
    """Explain why the hard rules, the settings and the held products leave no plan.

    Args:
        basis: the problem that has no plan; its own settings count as rules and may be what has to give.
        rules: the rules in force; soft ones contradict nothing.
        seconds: time for the search; a set that is not proven to be the smallest says so.
    """
    deadline = time.monotonic() + seconds
    wide = Basis(basis.problem, _wide_ladder(basis), basis.facts)
    compiled = [*compile_rules(wide, tuple(rule for rule in rules if rule.hard)).rules, *settings_as_rules(wide)]
    model = elastic_model(wide, compiled)
    names = [one.rule.name for one in compiled]
    if model.keepable(frozenset(range(len(names))), seconds):
        return Conflict((), (), (), False, (), Reason(UNEXPLAINED, {"rules": listed_rules(names)}))
    amounts = model.cheapest(seconds / 3)
    found, proven = _smallest(model, amounts, deadline)
    few = [compiled[place] for place in sorted(found)]
    products = _where(wide, few)
    relaxations = () if amounts is None else tuple(_relaxations(compiled, amounts))
    return Conflict(
        rules=tuple(one.rule.name for one in few),
        owners=tuple(one.rule.owner for one in few),
        products=products,
        smallest=proven,
        relaxations=relaxations,
        reason=_reason(few, products, relaxations) if proven else _unproven(few, relaxations),
    )


def _smallest(model: Elastic, amounts: Floats | None, deadline: float) -> tuple[frozenset[int], bool]:
    """The smallest contradiction and True; in want of time, the rules that the way out relaxes and False."""
    count = len(model.relaxation)

    def keepable(kept: frozenset[int]) -> bool:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return model.keepable(kept, left)

    def grow(kept: frozenset[int]) -> frozenset[int]:
        found = model.cheapest(SECONDS_TO_GROW, kept) if kept else amounts
        return kept if found is None else kept | set(np.flatnonzero(found <= TOLERANCE).tolist())

    try:
        return smallest_contradiction(count, keepable, grow), True
    except TimeoutError:
        given_up = model.at_least() if amounts is None else amounts
        return frozenset(np.flatnonzero(given_up > TOLERANCE).tolist()), False


def _wide_ladder(basis: Basis) -> Ladder:
    """Today's ladder, and what it would be without the settings: further, for all, in whole cents."""
    problem = basis.problem
    furthest = min(WIDER * problem.max_change, 0.99)
    wide = build_ladder(
        problem.current_price,
        problem.unit_cost,
        np.ones(len(problem.product_ids), dtype=np.bool_),
        LadderRules(furthest, problem.step),
        further=problem.further,
    )
    return joined(basis.ladder, wide.price)


def settings_as_rules(basis: Basis) -> list[Compiled]:
    """The settings of the problem and its held products, as rules."""
    problem = basis.problem
    listed = [Rule("pricing.max_change", "max_change", values={"up": problem.max_change, "down": problem.max_change})]
    if problem.endings is not None:
        listed.append(Rule("pricing.endings", "price_endings", values={"endings": problem.endings}))
    if problem.index_band is not None:
        band = {"low": -problem.index_band, "high": problem.index_band, "by": None}
        listed.append(Rule("pricing.index_band", "price_index", values=band))
    if problem.max_changed is not None:
        most = {"at_most": problem.max_changed, "share": None, "by": None}
        listed.append(Rule("pricing.max_changed", "max_changes", values=most))
    everybody = np.arange(len(problem.product_ids), dtype=np.int64)
    held = np.flatnonzero(~problem.movable).astype(np.int64)
    own = [
        Compiled(Rule(HELD, "frozen"), Excess(held, basis.changed(held))),
        Compiled(Rule(SEEN_RANGE, "max_change"), Excess(everybody, _unseen(basis))),
    ]
    if problem.min_margin is not None:
        floor = Rule("pricing.min_margin", "margin_floor", values={"at_least": problem.min_margin})
        margin = 1 - problem.unit_cost[:, None] / basis.ladder.price
        missing = PERCENT * np.nan_to_num(np.maximum(problem.min_margin - margin, 0.0)) * basis.changed(everybody)
        own.append(Compiled(floor, Excess(everybody, np.where(missing > TOLERANCE, missing, 0.0))))
    return [*compile_rules(basis, tuple(listed)).rules, *own]


def _unseen(basis: Basis) -> Floats:
    """(P, K) percentage points of today's price beyond the range in which prices were seen."""
    problem, price = basis.problem, basis.ladder.price
    low = np.zeros(len(price)) if problem.price_low is None else problem.price_low
    high = np.full(len(price), np.inf) if problem.price_high is None else problem.price_high
    beyond = np.maximum(np.maximum(low[:, None] - price, price - high[:, None]), 0.0)
    share = PERCENT * np.nan_to_num(beyond / problem.current_price[:, None]) * basis.changed(np.arange(len(price)))
    return np.where(share > TOLERANCE, share, 0.0)


def _relaxations(compiled: Sequence[Compiled], amounts: Floats) -> list[Relaxation]:
    return [
        _relaxation(one.rule, float(amount))
        for one, amount in zip(compiled, amounts, strict=True)
        if amount > 10 * TOLERANCE
    ]


def _relaxation(rule: Rule, amount: float) -> Relaxation:
    kind = KINDS[rule.kind]
    words: dict[str, Any] = {"rule": rule.name, "amount": amount, "unit": kind.counted_in}
    if kind.counted:
        return Relaxation(rule.name, amount, kind.counted_in, Reason(RELAX["count"], words | {"amount": round(amount)}))
    given = {name: float(rule.values[name]) for name in kind.limits if rule.values.get(name) is not None}
    if len(given) != 1:
        return Relaxation(rule.name, amount, kind.counted_in, Reason(RELAX["amount"], words))
    ((name, old),) = given.items()
    words |= {"parameter": name, "old": old, "new": old + _SIDES.get(name, 1.0) * amount / kind.scale}
    return Relaxation(rule.name, amount, kind.counted_in, Reason(RELAX["parameter"], words))


def _where(basis: Basis, few: Sequence[Compiled]) -> tuple[str, ...]:
    """Products at which the contradiction shows: those without a rung, or those of the smallest row."""
    singles = [one.excess for one in few if one.excess is not None]
    free = basis.ladder.rungs.copy()
    for excess in singles:
        free[excess.product] &= excess.amount <= TOLERANCE
    stuck = ~free.any(axis=1)
    limited = [np.unique(limit.row.product) for one in few for limit in one.limits]
    ids = basis.problem.product_ids
    if stuck.any():
        return tuple(ids[i] for i in np.flatnonzero(stuck)[:MOST_NAMED])
    smallest = min(limited, key=lambda rows: len(rows), default=np.empty(0, dtype=np.int64))  # noqa: PLW0108 - typed
    return tuple(ids[i] for i in smallest) if len(smallest) <= MOST_NAMED else ()


def _reason(few: Sequence[Compiled], products: Sequence[str], relaxations: Sequence[Relaxation]) -> Reason:
    values: dict[str, Any] = {
        "rules": listed_rules([one.rule.name for one in few]),
        "places": Reason(PLACES, {"products": ", ".join(products)}) if products else "",
    }
    if not relaxations:
        return Reason(NO_WAY_OUT, values)
    steps = _listed([relaxation.sentence for relaxation in relaxations], BOTH)
    return Reason(CONTRADICTION if len(few) > 1 else IMPOSSIBLE, values | {"relaxations": steps})


def _unproven(few: Sequence[Compiled], relaxations: Sequence[Relaxation]) -> Reason:
    if not relaxations:
        return Reason(LOST)
    steps = _listed([relaxation.sentence for relaxation in relaxations], BOTH)
    return Reason(NOT_NARROWED, {"rules": listed_rules([one.rule.name for one in few]), "relaxations": steps})


def listed_rules(names: Sequence[str]) -> Sentence:
    """Name rules in quotes, joined by commas and "and"."""
    return _listed([Reason(QUOTED, {"name": name}) for name in names], AND)


def _listed(words: Sequence[Sentence], last: str) -> Sentence:
    """Join sentences to one, so that each can be translated."""
    if not words:
        return ""
    joined_words = words[0]
    for place, word in enumerate(words[1:], 2):
        template = last if place == len(words) else (COMMA if last == AND else BOTH)
        joined_words = Reason(template, {"first": joined_words, "second": word})
    return joined_words
