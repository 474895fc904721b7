"""A bandit: decide which arm each row gets, log with what chance, and learn from what came back.

Everything here is pure: a frozen design, a frozen state, and functions from one state to the next; `rng` and times are
arguments. Where the state is kept, and how writers that come at the same time are put in order, is the store's affair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError, shown
from experiments.bandits.drift import Cusum, CusumState
from experiments.bandits.knapsack import Budget, Purse
from experiments.bandits.marginals import Floats, Ints, Less, Marginals, best_arm, best_probability
from experiments.bandits.policies import Policy

S = TypeVar("S")


@dataclass(frozen=True)
class BanditDesign(Generic[S]):
    """What is fixed before the first decision."""

    policy: Policy[S]
    min_exploration: float = 0.0
    """Share of decisions drawn uniformly from the allowed arms, 0…1: every arm's propensity is at least this over A."""
    top_two: float | None = None
    """Chance of playing the best draw rather than its challenger (Russo 2020); None: always the best draw."""
    half_life: float | None = None
    """Time after which a reward counts half, in the unit of the decisions' times; None: nothing is forgotten."""
    change: Cusum | None = None
    """Watch each arm for a change, and forget an arm that has changed."""
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_exploration <= 1:
            raise ProblemError(f"min_exploration = {self.min_exploration!r} is refused; give a share from 0 to 1")
        if self.top_two is not None and not 0 < self.top_two <= 1:
            raise ProblemError(f"top_two = {self.top_two!r} is refused; give a chance above 0 and up to 1, such as 0.5")
        if self.half_life is not None and not self.half_life > 0:
            raise ProblemError(f"half_life = {self.half_life!r} is refused; give a time above 0, or None")
        if self.budget is not None and len(self.budget.cost) != self.policy.arms:
            raise ProblemError(
                f"the budget has {len(self.budget.cost)} costs for {self.policy.arms} arms; give one each"
            )


@dataclass(frozen=True)
class BanditState(Generic[S]):
    """What has been learned and spent so far."""

    learned: S
    as_of: float = 0.0
    """Time of the newest reward: the weights are those of this moment."""
    removed: tuple[int, ...] = ()
    """Arms that are no longer chosen; what was learned of them stays."""
    purse: Purse | None = None
    watch: CusumState | None = None
    changes: tuple[tuple[int, float], ...] = ()
    """(arm, time) of every change that was noticed."""


@dataclass(frozen=True)
class Decisions:
    """What was decided for n rows, with all that off-policy evaluation needs."""

    arm: Ints
    """(n,)."""
    belief: Marginals
    """What was believed when it was decided: with `allowed`, the propensities follow from it."""
    allowed: npt.NDArray[np.bool_]
    """(n, A) arms that could have been chosen."""
    min_exploration: float
    top_two: float | None
    parts: tuple[tuple[int, int, float], ...] = field(default=())
    """(first row, end row, price of the budget) of each run of rows decided under one price and one set of arms."""
    cost: Floats | None = None
    """(A,) cost of the arms, where there is a budget."""
    alike: bool = False
    """Whether every row was decided under the same beliefs (policies without features)."""

    def probabilities(self) -> Floats:
        """(n, A) chance of every arm, exact to quadrature (1e-6); rows add up to 1."""
        chance = np.empty(self.allowed.shape)
        for first, end, price in self.parts:
            arms = np.flatnonzero(self.allowed[first])
            rows = slice(first, first + 1 if self.alike else end)
            best = best_probability(_net(self.belief.rows(rows), price, self.cost), arms)
            chance[first:end] = _explored(_challenged(best, arms, self.top_two), arms, self.min_exploration)
        return chance

    def propensity(self) -> Floats:
        """(n,) chance of the arm that was chosen."""
        chosen: Floats = self.probabilities()[np.arange(len(self.arm)), self.arm]
        return chosen


def start(design: BanditDesign[S]) -> BanditState[S]:
    """State before the first decision."""
    purse = Purse(0.0, 0, 0.0) if design.budget is not None else None
    watch = design.change.start(design.policy.arms) if design.change is not None else None
    return BanditState(design.policy.start(), purse=purse, watch=watch)


def decide(
    design: BanditDesign[S],
    state: BanditState[S],
    *,
    rng: np.random.Generator,
    context: npt.ArrayLike | None = None,
    rows: int = 1,
) -> tuple[Decisions, BanditState[S]]:
    """Choose an arm for each row: a fresh draw for every row, never one draw shared by a batch.

    Args:
        design: the policy and its limits.
        state: what is known; the returned state differs from it only where a budget was drawn on.
        rng: source of chance.
        context: (n, d) features; None for policies without features.
        rows: number of rows where there is no context.

    Raises:
        ProblemError: the context does not fit, every arm was removed, or no arm can be paid any more.
    """
    table = _context(design.policy, context, rows)
    belief = design.policy.belief(state.learned, table)
    arms = np.array([a for a in range(design.policy.arms) if a not in state.removed], dtype=np.int64)
    if not len(arms):
        raise ProblemError("every arm has been removed; close the bandit, or add an arm under a new name")
    chosen, allowed = np.empty(len(table), dtype=np.int64), np.zeros((len(table), design.policy.arms), dtype=bool)
    parts: list[tuple[int, int, float]] = []
    purse, first = state.purse, 0
    cost = None if design.budget is None else np.asarray(design.budget.cost, dtype=np.float64)
    while first < len(table):
        end, payable, price = len(table), arms, 0.0
        if design.budget is not None and purse is not None:
            payable, count = design.budget.payable(purse, arms, len(table) - first)
            end, price = first + count, purse.price
        part = slice(first, end)
        chosen[part] = _choose(design, _net(belief.rows(part), price, cost), payable, rng)
        allowed[part, payable] = True
        parts.append((first, end, price))
        if design.budget is not None and purse is not None:
            purse = design.budget.pay(purse, chosen[part])
        first = end
    alike = design.policy.features == 0
    decisions = Decisions(chosen, belief, allowed, design.min_exploration, design.top_two, tuple(parts), cost, alike)
    return decisions, replace(state, purse=purse)


def learn(
    design: BanditDesign[S],
    state: BanditState[S],
    *,
    arm: npt.ArrayLike,
    reward: npt.ArrayLike,
    context: npt.ArrayLike | None = None,
    at: npt.ArrayLike | None = None,
) -> BanditState[S]:
    """Learn from rewards, late or in batches: without forgetting, their order does not matter.

    Args:
        design: the policy and its limits.
        state: what was known.
        arm: (n,) arms that were played.
        reward: (n,) what they brought.
        context: (n, d) features at the decision.
        at: (n,) times of the decisions; with a half-life a reward counts by the age of its decision.

    Raises:
        ProblemError: a reward or context that is not finite, an arm that does not exist: its row is named.
    """
    arms, rewards = _checked_rewards(design.policy.arms, arm, reward)
    table = _context(design.policy, context, len(arms))
    if len(table) != len(arms):
        raise ProblemError(f"context has {len(table)} rows for {len(arms)} rewards; give one for each")
    times = np.full(len(arms), state.as_of) if at is None else np.asarray(at, dtype=np.float64)
    if times.shape != arms.shape or not np.isfinite(times).all():
        raise ProblemError("at must hold one finite time for each reward")
    if not len(arms):
        return state
    now = max(state.as_of, float(times.max()))
    learned = state.learned
    weight = np.ones(len(arms))
    if design.half_life is not None:
        learned = design.policy.fade(learned, _kept(now - state.as_of, design.half_life))
        weight = 0.5 ** ((now - times) / design.half_life)
    learned = design.policy.learn(learned, arms, rewards, table, weight)
    after = replace(state, learned=learned, as_of=now)
    return after if design.change is None else _watch(design, after, arms, rewards)


def remove_arm(design: BanditDesign[S], state: BanditState[S], arm: int) -> BanditState[S]:
    """State in which an arm is no longer chosen; rewards of its past decisions are still taken.

    Raises:
        ProblemError: there is no such arm, or it is the last one.
    """
    if not 0 <= arm < design.policy.arms:
        raise ProblemError(f"arm {arm} does not exist; the arms are 0 … {design.policy.arms - 1}")
    removed = tuple(sorted({*state.removed, arm}))
    if len(removed) == design.policy.arms:
        raise ProblemError(f"arm {arm} is the last one; close the bandit instead of removing it")
    return replace(state, removed=removed)


def _watch(design: BanditDesign[S], state: BanditState[S], arms: Ints, rewards: Floats) -> BanditState[S]:
    if design.change is None or state.watch is None:
        return state
    watch, changed = design.change.watch(state.watch, arms, rewards)
    learned = state.learned
    for arm in changed:
        learned = design.policy.forget(learned, arm)
    return replace(
        state, learned=learned, watch=watch, changes=(*state.changes, *((arm, state.as_of) for arm in changed))
    )


def _kept(elapsed: float, half_life: float) -> float:
    return math.pow(0.5, elapsed / half_life)


def _net(belief: Marginals, price: float, cost: Floats | None) -> Marginals:
    return belief if cost is None or price == 0.0 else Less(belief, price * cost)


def _choose(design: BanditDesign[Any], belief: Marginals, arms: Ints, rng: np.random.Generator) -> Ints:
    chosen = best_arm(belief.draw(rng), arms)
    if design.top_two is not None and len(arms) > 1:
        chosen = _challenge(belief, chosen, arms, design.top_two, rng)
    if design.min_exploration > 0:
        explored = rng.random(len(chosen)) < design.min_exploration
        chosen = np.where(explored, rng.choice(arms, len(chosen)), chosen)
    return chosen


def _challenge(belief: Marginals, leader: Ints, arms: Ints, keep: float, rng: np.random.Generator) -> Ints:
    """Replace some leaders by a challenger, drawn from the chance of being best given that it is not the leader.

    That is what drawing again until another arm wins comes to (Russo 2020), without an endless loop.
    """
    swap = np.flatnonzero(rng.random(len(leader)) >= keep)
    if not len(swap):
        return leader
    chance = best_probability(belief.rows(swap), arms)
    chance[np.arange(len(swap)), leader[swap]] = 0.0
    chance = _spread(chance, leader[swap], arms)
    edge = rng.random((len(swap), 1)) * chance.sum(axis=1, keepdims=True)
    challenger = (chance.cumsum(axis=1) <= edge).sum(axis=1)
    changed = leader.copy()
    changed[swap] = challenger
    return changed


def _spread(chance: Floats, leader: Ints, arms: Ints) -> Floats:
    """Give rows in which the leader is certain an even chance for the others."""
    even = np.zeros_like(chance)
    even[:, arms] = 1.0
    even[np.arange(len(leader)), leader] = 0.0
    return np.where(chance.sum(axis=1, keepdims=True) > 1e-12, chance, even)


def _challenged(best: Floats, arms: Ints, keep: float | None) -> Floats:
    """(n, A) propensities under top-two sampling: β α_a + (1-β) Σ_{l≠a} α_l α_a / (1 - α_l), l the leader."""
    if keep is None or len(arms) == 1:
        return best
    rows = len(best)
    chance = keep * best
    for leader in arms:
        others = best.copy()
        others[:, leader] = 0.0
        others = _spread(others, np.full(rows, leader), arms)
        chance += (1 - keep) * best[:, [leader]] * others / others.sum(axis=1, keepdims=True)
    return chance


def _explored(best: Floats, arms: Ints, share: float) -> Floats:
    even = np.zeros(best.shape[1])
    even[arms] = 1 / len(arms)
    chance: Floats = (1 - share) * best + share * even
    return chance


def _context(policy: Policy[Any], context: npt.ArrayLike | None, rows: int) -> Floats:
    if policy.features == 0:
        return np.empty((rows if context is None else len(np.asarray(context)), 0))
    if context is None:
        raise ProblemError(f"this policy looks at {policy.features} features; give a context of that many columns")
    table = np.atleast_2d(np.asarray(context, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] != policy.features:
        raise ProblemError(f"context has shape {table.shape}; give (rows, {policy.features})")
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise ProblemError(
            f"context[{row}, {column}] = {shown(table[row, column])} is not a finite number; fill it first"
        )
    return table


def _checked_rewards(count: int, arm: npt.ArrayLike, reward: npt.ArrayLike) -> tuple[Ints, Floats]:
    arms, rewards = np.atleast_1d(np.asarray(arm)), np.atleast_1d(np.asarray(reward, dtype=np.float64))
    if arms.ndim != 1 or arms.shape != rewards.shape:
        raise ProblemError(
            f"arm has shape {arms.shape} and reward {rewards.shape}; give one reward for each arm played"
        )
    if arms.size and not np.issubdtype(arms.dtype, np.integer):
        raise ProblemError(f"arm has type {arms.dtype}; give whole numbers 0 … {count - 1}")
    outside = np.flatnonzero((arms < 0) | (arms >= count))
    if outside.size:
        raise ProblemError(f"arm[{outside[0]}] = {arms[outside[0]]} does not exist; the arms are 0 … {count - 1}")
    bad = np.flatnonzero(~np.isfinite(rewards))
    if bad.size:
        raise ProblemError(f"reward[{bad[0]}] = {shown(rewards[bad[0]])} is not a finite number; leave it out")
    return arms.astype(np.int64), rewards
