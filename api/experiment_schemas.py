"""What the experiment routes take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from api.experiments import Asked
from api.schemas import Model, Number, PageOut
from engine.store import ExperimentState

MOST_EVENTS = 1_000


class DesignIn(Model):
    """What is asked of a design: the options of `offerwright experiment design`; what is left out takes its default."""

    proposal_id: str | None = Field(None, description="Proposal that the experiment tests; its promise sets the size.")
    history: dict[str, list[float | str | None]] | None = Field(
        None, description="Past units by column, all of one length; a proposal's own data do without."
    )
    part: Literal["prices", "coupons"] | None = Field(None, description="Part of the proposal that is tested.")
    treatment: Literal["price", "coupon", "recommendation", "other"] = "other"
    randomise: Literal["customer", "product", "store", "time"] = "customer"
    unit: str = Field("unit_id", description="Column of the history with the unit's (or region's) identifier.")
    metric: str | None = Field(None, description="Column that decides.")
    kind: Literal["mean", "proportion", "ratio", "profit"] = "mean"
    denominator: str | None = None
    cost: str | None = Field(None, description="Column of the coupons' cost, for a profit.")
    declare: dict[str, Any] | None = Field(
        None, description="More of the metric that decides, declared as data: where, window, winsorise, missing."
    )
    stratum: str | None = Field(None, description="Column for post-stratification.")
    also: list[dict[str, Any]] = Field(
        default_factory=list, description="Metrics that are read and do not decide, declared as data."
    )
    lower_is_better: bool = False
    covariates: list[str] = Field(default_factory=list, description="Columns from before, for CUPED.")
    cluster: str | None = None
    first_week: str | None = None
    effect: float | None = Field(None, description="Smallest difference for each unit that must not be missed.")
    relative_effect: float | None = None
    guardrails: dict[str, float] = Field(default_factory=dict, description="Share by which a column may not fall.")
    method: Literal["fixed", "group_sequential", "always_valid"] = "fixed"
    looks: int = Field(5, ge=2)
    spending: Literal["obrien_fleming", "pocock"] = "obrien_fleming"
    weights: list[float] = Field(default_factory=lambda: [0.5, 0.5], min_length=2, description="Control first.")
    coverage: float = Field(1.0, ge=0, le=1)
    layers: dict[str, float] = Field(default_factory=dict)
    holdouts: dict[str, float] = Field(default_factory=dict)
    target: dict[str, Any] | None = None
    held_back: float = Field(0.2, gt=0, lt=1)
    budget: float | None = Field(None, gt=0)
    cells: int = Field(50, ge=4)
    weeks: int | None = Field(None, ge=1, description="That products, stores or a budget split run.")
    steps: int | None = Field(None, ge=2)
    periods: list[int] = Field(default_factory=list)
    carry_over: int = Field(1, ge=0)
    alpha: float = Field(0.05, gt=0, lt=1)
    power: float = Field(0.8, gt=0, lt=1)
    smallest_gain: float = 0.0
    futility: float = Field(0.1, ge=0, le=1)
    cost_a_week: float | None = Field(None, ge=0)
    decides_for: float | None = Field(None, gt=0)
    correction: Literal["none", "holm", "benjamini_hochberg"] = Field(
        "none",
        description="Of the p-values over metrics and treatments; the deciding metric and guardrails are read by their "
        "intervals.",
    )
    replay: int = Field(
        320, ge=0, le=10_000, description="Splits of history that mean nothing on which the method is tried out."
    )
    convention: Literal["delta", "log"] = Field("delta", description="Relative effect that is named first.")


class ExperimentIn(DesignIn):
    """A new experiment."""

    experiment_id: str = Field(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$", description="Seeds the split."
    )


class VersionIn(DesignIn):
    """A design that takes the place of the one before."""

    why: str = Field("", description="Needed once the experiment runs.")


class ExperimentOut(Model):
    """An experiment as it stands."""

    experiment_id: str
    proposal_id: str | None
    state: ExperimentState
    version: int = Field(description="Of the design, from 1.")
    design: dict[str, Any]
    promise: dict[str, Any] = Field(description="What the proposal promised; empty where none is tested.")
    promised_for_tested: Number = Field(
        description="Money promised for what is tested, over the proposal's horizon: what `measured` stands beside."
    )
    created_at: datetime
    created_by: str
    started_at: datetime | None
    ended_at: datetime | None
    read_at: datetime | None


class ExperimentsOut(PageOut):
    """One page of experiments, newest first."""

    items: list[ExperimentOut]


class VersionOut(Model):
    """A design as it stood."""

    version: int
    design: dict[str, Any]
    why: str
    created_at: datetime
    created_by: str


class VersionsOut(Model):
    """Every version of a design, oldest first."""

    items: list[VersionOut]


class AssignedUnitIn(Model):
    """Who or what is to be assigned."""

    unit_id: str = Field(min_length=1, max_length=255)
    attributes: dict[str, float | str | bool | None] = Field(
        default_factory=dict, description="What the design's target asks for."
    )


class AssignIn(Model):
    """Units to assign."""

    units: list[AssignedUnitIn] = Field(min_length=1, max_length=MOST_EVENTS)


class AssignmentOut(Model):
    """Where a unit is."""

    unit_id: str
    variant: int = Field(description="0 control, 1 … treatments, -1 outside.")
    cell: int | None = Field(None, description="Of a budget split.")


class AssignmentsOut(Model):
    """Where the units are, in the order asked."""

    items: list[AssignmentOut]


class ExposureIn(Model):
    """A unit was shown a variant."""

    unit_id: str = Field(min_length=1, max_length=255)
    variant: int = Field(ge=-1, le=1_000)
    at: AwareDatetime
    attributes: dict[str, float | str | bool | None] = Field(
        default_factory=dict, description="What was known of the unit before: covariates, segments, what a target asks."
    )


class ExposuresIn(Model):
    """Exposures; sent again they change nothing."""

    exposures: list[ExposureIn] = Field(min_length=1, max_length=MOST_EVENTS)


class OutcomeIn(Model):
    """What a unit did."""

    outcome_id: str = Field(min_length=1, max_length=255, description="Of the sender, such as the order's number.")
    unit_id: str = Field(min_length=1, max_length=255)
    at: AwareDatetime
    measured: dict[str, float | None] = Field(
        min_length=1, description="Columns of the metrics; null: not known. Of a switchback also `step`."
    )


class OutcomesIn(Model):
    """Outcomes; sent again they change nothing."""

    outcomes: list[OutcomeIn] = Field(min_length=1, max_length=MOST_EVENTS)


class TakenOut(Model):
    """How many events were new."""

    taken: int
    known: int


class AnalysisIn(Model):
    """How to read an experiment now."""

    weeks: float | None = Field(
        None,
        gt=0,
        description="Since the start, where the units are there from the first day; the clock's if left out.",
    )
    segments: list[str] = Field(default_factory=list, description="Attributes of the exposures.")
    earlier: list[str] = Field(
        default_factory=list, description="Attributes with the unit's variant in earlier tests: did those leave a mark."
    )
    modifiers: list[str] = Field(
        default_factory=list, description="Attributes with numbers along which the effect may change."
    )
    bayesian: bool = Field(False, description="Give the posterior of each relative effect, under a normal prior.")
    prior_mean: float = Field(0.0, description="Of the relative effect, a share of the control's value.")
    prior_spread: float = Field(0.3, gt=0, description="Standard deviation of the prior.")
    trend_days: int = Field(0, ge=0, le=60, description="Days since exposure over which novelty is looked for.")

    def asked(self) -> Asked:
        """What is asked, as `api.experiments` takes it."""
        from experiments.statistics.posterior import Prior

        prior = Prior(self.prior_mean, self.prior_spread) if self.bayesian else None
        lists = tuple(self.segments), tuple(self.modifiers), tuple(self.earlier)
        return Asked(self.weeks, *lists, prior, self.trend_days)


class CheckOut(Model):
    """One reason to believe a reading, or not to."""

    name: str
    verdict: Literal["passed", "notice", "broken"]
    says: str
    p_value: Number


class RelativeOut(Model):
    """An effect as a share of the control's value."""

    estimate: Number
    low: Number
    high: Number


class PosteriorOut(Model):
    """What to believe of a relative effect under the prior; it does not correct for peeking."""

    mean: Number
    spread: Number
    low: Number
    high: Number
    chance_better: Number
    expected_loss: Number = Field(description="Expected share lost by shipping.")


class PriorOut(Model):
    """Normal prior of the relative effects."""

    mean: Number
    spread: Number


class EffectOut(Model):
    """One effect, treatment less control for each unit, with the interval that is valid at this look."""

    metric: str
    variant: int
    estimate: Number
    low: Number
    high: Number
    decision: str
    p_value: Number = Field(None, description="Of this look; null where the design has an analysis of its own.")
    adjusted_p: Number = Field(None, description="After the design's correction over metrics and treatments.")
    relatives: dict[Literal["delta", "log"], RelativeOut] | None = Field(
        None, description="As a share of the control's value, by the name of the convention."
    )
    posterior: PosteriorOut | None = None


class SegmentOut(Model):
    """One effect in one segment."""

    segment: str
    level: str
    metric: str
    variant: int | None = None
    estimate: Number
    low: Number
    high: Number
    shrunk: Number = Field(None, description="What to expect when acting on this segment alone.")
    shrunk_low: Number = None
    shrunk_high: Number = None
    differ_p: Number = Field(None, description="Chance of segments this far apart if all had the same effect.")


class ModificationOut(Model):
    """How an effect changes along a number that was known before exposure."""

    modifier: str
    metric: str
    variant: int
    slope: Number = Field(description="Change of the effect for one more of the number.")
    low: Number
    high: Number
    p_value: Number
    effect_below: Number = Field(description="One standard deviation below the number's mean.")
    effect_above: Number


class VerdictOut(Model):
    """What the rule of the design says."""

    action: str
    why: list[str]


class MeasuredOut(Model):
    """What it earned, on the scale of the promise: money over the proposal's horizon."""

    gain: Number
    low: Number
    high: Number


class ReadingOut(Model):
    """One look at an experiment."""

    number: int
    version: int = Field(description="Of the design under which it was read.")
    read_at: datetime
    read_by: str
    trustworthy: bool
    final: bool = Field(description="Whether the plan allows a decision at this look.")
    interval: str = Field(description="What the intervals are: fixed, group_sequential or always_valid.")
    units: int
    effects: list[EffectOut]
    verdicts: list[VerdictOut]
    checks: list[CheckOut]
    measured: MeasuredOut | None
    promise: dict[str, Any]
    segments: list[SegmentOut]
    modifications: list[ModificationOut]
    prior: PriorOut | None = Field(None, description="Of the posteriors, where they were asked for.")
    left_out: list[str]
    refused: list[str] = Field(description="Metrics that cannot be read, and why.")
    notes: list[str]


class ReadingsOut(PageOut):
    """One page of readings, newest first."""

    items: list[ReadingOut]
