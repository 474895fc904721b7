"""Pairs of promotions of one category and week: what they gain back, and how it is granted to the two in a bound.

A promotion takes from the others of its category at their margins; where the other is promoted too, that margin is the
lower one, so the pair gains back the difference. The term is never negative. A calendar by columns knows no pairs: each
promotion is granted a share of what its partners could bring, whether or not they are there. Whatever the shares,
grants that add up to the pair's gain make a bound (Lagrangian relaxation of "both are there"); the best shares are
sought by subgradient steps (Held, Wolfe and Crowder, "Validation of subgradient optimization", Mathematical
Programming, 1974).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.promotions.problem import PromotionProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class _Block:
    """One category in one week: n products, O options."""

    members: Ints
    week: int
    others: int
    """Most partners that a promotion can have."""
    gain: Floats
    """(n, O, n, O) what a pair gains back, money."""
    grant: Floats
    """(n, O, n, O) of it, what the first is granted; grants of both directions add up to `gain`."""

    def partners(self) -> Floats:
        """(n, O, n) largest grant by partner product; 0 for itself."""
        best = self.grant.max(axis=3)
        here = np.arange(len(self.members))
        best[here, :, here] = 0.0
        return np.asarray(best)

    def allowance(self) -> Floats:
        """(n, O) sum of the largest grants that can come together."""
        return np.asarray(np.sort(self.partners(), axis=2)[:, :, ::-1][:, :, : self.others].sum(axis=2))


class PairGrants:
    """The grants of all pairs of a problem."""

    def __init__(self, problem: PromotionProblem) -> None:
        self.shape = (len(problem.product_ids), problem.weeks, len(problem.depth))
        self.blocks = list(_blocks(problem))

    def share_by_slack(self, slack: Floats) -> None:
        """Grant to each promotion what leaves it unchosen, and the rest to the other of the pair.

        Args:
            slack: (P, W, O) money that a promotion lacks to be chosen without grants.
        """
        for block in self.blocks:
            room = np.minimum(slack[block.members, block.week] / block.others, 2 * block.gain.max(initial=0.0))
            own, other = room[:, :, None, None], room[None, None]
            half = 0.5 * block.gain
            shared = np.where(own == other, half, block.gain * own / np.where(own + other > 0, own + other, 1.0))
            short = np.where(own == other, half, np.where(own > other, own, block.gain - other))
            block.grant = np.where(own + other >= block.gain, shared, short)

    def allowance(self) -> Floats:
        """(P, W, O) what every promotion is granted."""
        allowance = np.zeros(self.shape)
        for block in self.blocks:
            allowance[block.members, block.week] = block.allowance()
        return allowance

    def step(self, option: Ints, excess: float) -> None:
        """Shift grants from promotions whose partner is not there to that partner.

        Args:
            option: (P, W) the calendars that the bound's products choose.
            excess: by how much the bound is hoped to fall, money.
        """
        lone = [(block, *pair) for block in self.blocks for pair in _lone(block, option)]
        size = excess / max(len(lone), 1)
        for block, a, o, b, p in lone:
            shift = min(size, float(block.grant[a, o, b, p]))
            block.grant[a, o, b, p] -= shift
            block.grant[b, p, a, o] += shift


def _lone(block: _Block, option: Ints) -> Iterator[tuple[int, int, int, int]]:
    """(product, option, partner, its option) of grants that chosen promotions count on without the partner."""
    chosen = option[block.members, block.week]
    for a in np.flatnonzero(chosen).tolist():
        o = int(chosen[a]) - 1
        grants = block.grant[a, o].max(axis=1)
        grants[a] = 0.0
        for b in np.argsort(-grants, kind="stable")[: block.others].tolist():
            p = int(block.grant[a, o, b].argmax())
            if grants[b] > 0 and chosen[b] != p + 1:
                yield a, o, b, p


def _blocks(problem: PromotionProblem) -> Iterator[_Block]:
    if not ((problem.takes > 0).any() and (problem.depth > 0).any()):
        return
    for code in np.unique(problem.category):
        members = np.flatnonzero(problem.category == code)
        for week in range(problem.weeks):
            others = min(problem.most_together(week), len(members)) - 1
            if others > 0:
                gain = _gain(problem, members, week)
                yield _Block(members, week, others, gain, 0.5 * gain)


def _gain(problem: PromotionProblem, members: Ints, week: int) -> Floats:
    """(n, O, n, O) what two promotions of one category and week gain back, money."""
    given = problem.depth * (problem.price[members] * problem.base_units[week, members])[:, None]
    taken = problem.takes[members]
    return np.asarray(given[:, :, None, None] * taken[None, None] + taken[:, :, None, None] * given[None, None])


def pair_terms(problem: PromotionProblem) -> list[tuple[tuple[tuple[int, int], tuple[int, int]], float]]:
    """List what pairs gain back: ((product, node), (product, node)) as `promotion_events` numbers nodes, and money."""
    kinds = len(problem.depth)
    terms = []
    for block in _blocks(problem):
        first = 1 + block.week * kinds
        for a, o, b, p in np.argwhere(block.gain > 0).tolist():
            if a < b:
                pair = ((int(block.members[a]), first + o), (int(block.members[b]), first + p))
                terms.append((pair, float(block.gain[a, o, b, p])))
    return terms
