"""The prices that rules ask for: they stand on the ladder though no step of it meets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from optimizers.prices.ladder import LadderRules, ending_prices, packed
from optimizers.prices.problem import PriceProblem
from optimizers.rules.record import Facts, Floats, Rule
from optimizers.rules.scope import products_of


def asked_prices(problem: PriceProblem, facts: Facts, rules: Sequence[Rule]) -> Floats:
    """List what rules about endings and price points ask for, as `PriceProblem.further` takes it.

    Args:
        problem: products and settings.
        facts: the product table.
        rules: all rules, hard or soft; those of other kinds ask for no price.

    Returns:
        (P, E) money per unit, ascending, NaN where there is none. What the settings forbid may be among them: the
        ladder leaves it out.

    Raises:
        ConfigurationError: a rule names what the shop does not have.
    """
    found: Floats = np.empty((len(problem.product_ids), 0))
    for rule in rules:
        if rule.kind in _ASKED:
            mine = products_of(rule, facts)
            asked = _ASKED[rule.kind](problem, rule)
            own = np.full(asked.shape, np.nan)
            own[mine] = asked[mine]
            found = packed(np.concatenate([found, own], axis=1))
    return found


def _endings(problem: PriceProblem, rule: Rule) -> Floats:
    rules = LadderRules(problem.max_change, problem.step, endings=tuple(rule.values["endings"]))
    return ending_prices(problem.current_price, rules, problem.price_low, problem.price_high)


def _points(problem: PriceProblem, rule: Rule) -> Floats:
    return np.tile(np.array(rule.values["prices"], dtype=np.float64), (len(problem.product_ids), 1))


_ASKED: Mapping[str, Callable[[PriceProblem, Rule], Floats]] = {"price_endings": _endings, "price_ladder": _points}
