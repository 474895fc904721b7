"""What the bandit routes take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from api.off_policy import Choice
from api.schemas import Model, Number

MOST_UNITS = 1_000


class BanditIn(Model):
    """A new bandit."""

    bandit_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    arms: list[str] = Field(min_length=2, max_length=1_000, description="Names of the arms, each once.")
    policy: dict[str, Any] = Field(
        description='Kind and parameters, without `arms`, such as {"kind": "BetaThompson"} (docs/bandits.md).'
    )
    min_exploration: float = Field(0.0, ge=0, le=1, description="Share of decisions drawn evenly from the arms.")
    top_two: float | None = Field(None, gt=0, le=1, description="Chance of the leader against its challenger.")
    half_life_days: float | None = Field(None, gt=0, description="Age at which a reward counts half; null: never.")
    change: dict[str, Any] | None = Field(None, description="Change detection: reference, drift, threshold; or null.")
    budget: dict[str, Any] | None = Field(None, description="total, cost (by arm), decisions; or null.")


class BanditOut(Model):
    """A bandit as it stands."""

    bandit_id: str
    arms: list[str]
    design: dict[str, Any]
    decisions: int
    removed: list[str] = Field(description="Arms that are no longer chosen.")
    weight: list[float] = Field(description="Rewards of each arm, counted by their discount.")
    spent: float | None = Field(description="Money spent; null: there is no budget.")
    created_at: datetime
    created_by: str


class BanditsOut(Model):
    """All bandits, oldest first."""

    items: list[BanditOut]


class UnitIn(Model):
    """Who or what is decided for."""

    unit_id: str = Field(min_length=1, max_length=255)
    context: list[float] = Field(default_factory=list, description="Features, as many as the policy has.")


class DecideIn(Model):
    """Units to decide for."""

    units: list[UnitIn] = Field(min_length=1, max_length=MOST_UNITS)


class DecisionOut(Model):
    """What was decided for one unit."""

    decision_id: str = Field(description="Hand it back with the reward.")
    unit_id: str
    arm: str
    propensity: float = Field(description="Chance with which this arm was chosen.")


class DecisionsOut(Model):
    """What was decided, in the order asked."""

    items: list[DecisionOut]


class RewardIn(Model):
    """Rewards by decision."""

    rewards: dict[str, float] = Field(min_length=1, max_length=MOST_UNITS)


class RewardOut(Model):
    """How many rewards were new."""

    taken: int


class RemoveArmIn(Model):
    """An arm that is to be chosen no longer."""

    arm: str


class EvaluateIn(Model):
    """A policy to be valued on the bandit's own log."""

    target: dict[str, float] = Field(
        min_length=1, description="Chance of each arm by name; those left out are not played."
    )
    estimator: Choice = Field(
        "auto", description="auto: doubly robust where decisions have a context, else self-normalised."
    )
    alpha: float = Field(0.05, gt=0, lt=1)
    margin: float = Field(0.0, description="Gain per decision that a change is worth.")


class EvaluationOut(Model):
    """The value of a policy beside what runs, per decision, and whether it may go live."""

    estimator: str
    decisions: int
    unrewarded: int = Field(description="Decisions left out, as their reward is not known yet.")
    value: Number
    low: Number
    high: Number
    earned: Number = Field(description="Mean reward of what ran.")
    gain: Number
    gain_low: Number = Field(description="One-sided lower bound.")
    effective_sample_size: Number
    largest_weight_share: Number
    uncovered: Number = Field(description="Share of the policy's decisions on arms that the log never played.")
    passes: bool = Field(description="The lower bound of the gain is above the margin, and nothing stands against it.")
    reasons: list[str] = Field(description="Why it may not go live.")
