"""Bandits that live in the store: joins the mathematics of `experiments.bandits` to what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from engine.errors import InputError
from engine.store import BanditDecision, Bandits, Drawn, StoredBandit
from experiments.bandits import decide, learn, remove_arm, start
from experiments.bandits.record import design_record, read_design, read_state, state_record

DAY = 86_400.0
Context = Sequence[float]


def create(
    bandits: Bandits,
    bandit_id: str,
    arms: Sequence[str],
    design: Mapping[str, Any],
    *,
    seed: int,
    by: str,
    now: datetime,
) -> StoredBandit:
    """Store a new bandit.

    Args:
        bandits: of the store.
        bandit_id: what to call it.
        arms: names, each once.
        design: as `design_record`, its policy without `arms`; times are in days.
        seed: of its decisions.
        by: who starts it.
        now: when.

    Raises:
        InputError: a name stands twice.
        ProblemError: the design makes no sense.
        ConflictError: the identifier is taken.
    """
    if len(set(arms)) != len(arms):
        raise InputError(f"arms: {sorted(a for a in set(arms) if list(arms).count(a) > 1)} stand twice; name each once")
    policy = {**design["policy"], "arms": len(arms)}
    made = read_design({**design, "policy": policy})
    record = design_record(made) | {"seed": seed}
    return bandits.add(bandit_id, arms=arms, design=record, state=state_record(start(made)), by=by, now=now)


def decide_for(
    bandits: Bandits, bandit_id: str, units: Sequence[str], contexts: Sequence[Context], *, now: datetime
) -> tuple[BanditDecision, ...]:
    """Decide for units; each decision is logged with its propensity before it is returned."""

    def work(bandit: StoredBandit) -> Drawn:
        design, state = _design(bandit), read_state(bandit.state)
        rng = np.random.default_rng([int(bandit.design["seed"]), bandit.decisions])
        context = _table(contexts, design.policy.features)
        decisions, after = decide(design, state, rng=rng, context=context, rows=len(units))
        return Drawn(decisions.arm.tolist(), decisions.propensity().tolist(), state_record(after))

    return bandits.decide(bandit_id, units, contexts, work, now=now)


def reward(bandits: Bandits, bandit_id: str, rewards: Mapping[str, float], *, now: datetime) -> int:
    """Take rewards and learn from those that are new; returns how many were."""

    def work(bandit: StoredBandit, news: Sequence[BanditDecision]) -> Mapping[str, Any]:
        design = _design(bandit)
        after = learn(
            design,
            read_state(bandit.state),
            arm=[decision.arm for decision in news],
            reward=[float(decision.reward or 0.0) for decision in news],
            context=_table([decision.context for decision in news], design.policy.features),
            at=[(decision.at - bandit.created_at).total_seconds() / DAY for decision in news],
        )
        return state_record(after)

    return bandits.reward(bandit_id, rewards, work, now=now)


def remove(bandits: Bandits, bandit_id: str, arm: str, *, by: str, now: datetime) -> StoredBandit:
    """Choose an arm no longer; rewards of its past decisions are still taken.

    Raises:
        InputError: there is no arm of this name.
    """

    def work(bandit: StoredBandit) -> Mapping[str, Any]:
        if arm not in bandit.arms:
            raise InputError(f"arm {arm!r} is not one of {', '.join(bandit.arms)}")
        return state_record(remove_arm(_design(bandit), read_state(bandit.state), bandit.arms.index(arm)))

    return bandits.change(bandit_id, work, action=f"remove arm {arm}", by=by, now=now)


def _design(bandit: StoredBandit) -> Any:  # noqa: ANN401 - a design of any policy
    return read_design({name: value for name, value in bandit.design.items() if name != "seed"})


def _table(contexts: Sequence[Context], features: int) -> np.ndarray | None:
    if features == 0:
        return None
    wrong = next((i for i, row in enumerate(contexts) if len(row) != features), None)
    if wrong is not None:
        raise InputError(f"context of unit {wrong + 1} has {len(contexts[wrong])} numbers; the policy takes {features}")
    return np.asarray(contexts, dtype=np.float64)
