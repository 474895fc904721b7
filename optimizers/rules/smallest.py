"""The smallest set of rules that contradict each other.

Whoever gives up some rules finds a plan; every set of rules whose removal makes a plan possible (a correction set)
must contain a rule of every contradiction. So the smallest set that hits all correction sets found so far is either a
contradiction, and then the smallest there is, or it can be kept, and growing it gives another correction set (Ignatiev,
Previti, Liffiton and Marques-Silva, "Smallest MUS extraction with minimal hitting set dualization", CP 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Keepable = Callable[[frozenset[int]], bool]
"""Whether all rules of a set can be kept at once."""
Grow = Callable[[frozenset[int]], frozenset[int]]
"""A larger set that can be kept, for a set that can; as large as is quickly found."""


def smallest_contradiction(count: int, keepable: Keepable, grow: Grow = frozenset) -> frozenset[int]:
    """Find the smallest set of rules 0…count-1 that cannot be kept at once; of several, the first in order.

    Args:
        count: number of rules; all of them together cannot be kept.
        keepable: the oracle; a subset of a set that can be kept can be kept, too.
        grow: a quick way to a larger set; each rule that it leaves out is tried one by one.

    Returns:
        The set; empty where not even no rule at all can be kept.
    """
    everything = frozenset(range(count))
    alone = next((rule for rule in range(count) if not keepable(frozenset({rule}))), None)
    if alone is not None:
        return frozenset({alone}) if keepable(frozenset()) else frozenset()
    corrections: list[frozenset[int]] = []
    while True:
        candidate = smallest_hitting_set(corrections)
        if not keepable(candidate):
            return candidate
        grown = grow(candidate)
        for rule in sorted(everything - grown):
            if keepable(grown | {rule}):
                grown = grown | {rule}
        if grown == everything:
            raise ValueError("all rules can be kept at once: there is no contradiction to look for")
        corrections.append(everything - grown)


def smallest_hitting_set(sets: Sequence[frozenset[int]]) -> frozenset[int]:
    """Find the smallest set that shares a member with each of the sets (none of them empty)."""
    size = 0
    while True:
        found = _hit(sets, frozenset(), size)
        if found is not None:
            return found
        size += 1


def _hit(sets: Sequence[frozenset[int]], chosen: frozenset[int], left: int) -> frozenset[int] | None:
    missed = next((members for members in sets if not members & chosen), None)
    if missed is None:
        return chosen
    if left == 0:
        return None
    tries = (_hit(sets, chosen | {member}, left - 1) for member in sorted(missed))
    return next((found for found in tries if found is not None), None)
