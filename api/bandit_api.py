"""The routes of bandits: start one, decide, reward."""

from __future__ import annotations

import secrets

from flask import Response

from api import bandit_schemas as schemas
from api import bandits
from api.access import asker, current_time, needs, the_store
from api.exchange import Operation, api, body, described, model_answer, once
from api.off_policy import log_of_bandit, value_policy
from engine.files import plain
from engine.store import Role, StoredBandit
from experiments.bandits.record import read_state


@api.get("/bandits")
@described(Operation("List the bandits.", schemas.BanditsOut, Role.VIEWER))
@needs(Role.VIEWER)
def list_bandits() -> Response:
    """List the bandits."""
    return model_answer(schemas.BanditsOut(items=[_out(bandit) for bandit in the_store().bandits.all()]))


@api.post("/bandits")
@described(Operation("Start a bandit.", schemas.BanditOut, Role.ANALYST, body=schemas.BanditIn))
@needs(Role.ANALYST)
def start_bandit() -> Response:
    """Start a bandit."""
    asked = body(schemas.BanditIn)
    design = asked.model_dump(exclude={"bandit_id", "arms", "half_life_days"}) | {"half_life": asked.half_life_days}

    def work() -> Response:
        made = bandits.create(
            the_store().bandits,
            asked.bandit_id,
            asked.arms,
            design,
            seed=secrets.randbits(32),
            by=asker().name,
            now=current_time(),
        )
        return model_answer(_out(made))

    return once(work)


@api.get("/bandits/<bandit_id>")
@described(Operation("Read a bandit.", schemas.BanditOut, Role.VIEWER))
@needs(Role.VIEWER)
def read_bandit(bandit_id: str) -> Response:
    """Read one bandit."""
    return model_answer(_out(the_store().bandits.get(bandit_id)))


@api.post("/bandits/<bandit_id>/decide")
@described(
    Operation("Choose an arm for each unit, and log it.", schemas.DecisionsOut, Role.ANALYST, body=schemas.DecideIn)
)
@needs(Role.ANALYST)
def decide(bandit_id: str) -> Response:
    """Decide for units."""
    asked = body(schemas.DecideIn)

    def work() -> Response:
        names = the_store().bandits.get(bandit_id).arms
        units, contexts = [u.unit_id for u in asked.units], [u.context for u in asked.units]
        made = bandits.decide_for(the_store().bandits, bandit_id, units, contexts, now=current_time())
        items = [
            schemas.DecisionOut(decision_id=d.decision_id, unit_id=d.unit_id, arm=names[d.arm], propensity=d.propensity)
            for d in made
        ]
        return model_answer(schemas.DecisionsOut(items=items))

    return once(work)


@api.post("/bandits/<bandit_id>/reward")
@described(
    Operation("Say what decisions brought; each is taken once.", schemas.RewardOut, Role.ANALYST, body=schemas.RewardIn)
)
@needs(Role.ANALYST)
def reward(bandit_id: str) -> Response:
    """Take rewards."""
    asked = body(schemas.RewardIn)

    def work() -> Response:
        taken = bandits.reward(the_store().bandits, bandit_id, asked.rewards, now=current_time())
        return model_answer(schemas.RewardOut(taken=taken))

    return once(work)


@api.post("/bandits/<bandit_id>/remove-arm")
@described(Operation("Choose an arm no longer.", schemas.BanditOut, Role.ANALYST, body=schemas.RemoveArmIn))
@needs(Role.ANALYST)
def remove_arm(bandit_id: str) -> Response:
    """Remove an arm."""
    asked = body(schemas.RemoveArmIn)

    def work() -> Response:
        changed = bandits.remove(the_store().bandits, bandit_id, asked.arm, by=asker().name, now=current_time())
        return model_answer(_out(changed))

    return once(work)


@api.post("/bandits/<bandit_id>/evaluate")
@described(
    Operation(
        "Value another policy on the bandit's log, and say whether it may go live.",
        schemas.EvaluationOut,
        Role.VIEWER,
        body=schemas.EvaluateIn,
    )
)
@needs(Role.VIEWER)
def evaluate_policy(bandit_id: str) -> Response:
    """Value a policy; nothing is written."""
    asked = body(schemas.EvaluateIn)
    kept = the_store().bandits
    log = log_of_bandit(kept.get(bandit_id).arms, kept.log(bandit_id))
    found = value_policy(log, **asked.model_dump())
    return model_answer(schemas.EvaluationOut(**plain(found)))


def _out(bandit: StoredBandit) -> schemas.BanditOut:
    state = read_state(bandit.state)
    return schemas.BanditOut(
        bandit_id=bandit.bandit_id,
        arms=list(bandit.arms),
        design=dict(bandit.design),
        decisions=bandit.decisions,
        removed=[bandit.arms[arm] for arm in state.removed],
        weight=[float(w) for w in state.learned.weight],
        spent=None if state.purse is None else state.purse.spent,
        created_at=bandit.created_at,
        created_by=bandit.created_by,
    )
