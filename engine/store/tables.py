"""The tables of the operational store. Times are UTC, money is in the currency of the proposal's shop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Float, ForeignKey, Index, MetaData, String, Text, TypeDecorator, false
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def as_utc(moment: datetime) -> datetime:
    """Convert a moment to UTC.

    Raises:
        ValueError: it has no time zone, so nobody knows which moment it is.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; hand in datetime.now(UTC)")
    return moment.astimezone(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, whatever the database can keep of a time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a time without a zone is a mistake of the caller.

        Raises:
            ValueError: the time has no zone.
        """
        if value is None:
            return None
        value = as_utc(value)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the moment its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON(none_as_null=True), str: Text}  # noqa: RUF012 - SQLAlchemy's form


class ProposalRow(Table):
    """A proposal without its lines."""

    __tablename__ = "proposals"
    number: Mapped[int] = mapped_column(primary_key=True)
    proposal_id: Mapped[str] = mapped_column(String(64), unique=True)
    data: Mapped[str]
    state: Mapped[str] = mapped_column(String(32), index=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    submitted_by: Mapped[str | None]
    run_key: Mapped[str | None] = mapped_column(unique=True)
    """Slot of the scheduled job that made it: the database itself refuses a second proposal for one slot."""
    horizon_weeks: Mapped[int]
    currency: Mapped[str] = mapped_column(String(16))
    summary: Mapped[dict[str, Any]]
    evidence: Mapped[dict[str, Any]]
    content_sha256: Mapped[str] = mapped_column(String(64))


class PriceLineRow(Table):
    """One product of a proposal; see engine.proposal.PriceLine. NULL stands for "not estimated"."""

    __tablename__ = "price_lines"
    proposal_number: Mapped[int] = mapped_column(ForeignKey("proposals.number"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[str]
    title: Mapped[str]
    category: Mapped[str]
    current_price: Mapped[float | None] = mapped_column(Float(53))
    proposed_price: Mapped[float | None] = mapped_column(Float(53))
    unit_cost: Mapped[float | None] = mapped_column(Float(53))
    units_current: Mapped[float | None] = mapped_column(Float(53))
    units_proposed: Mapped[float | None] = mapped_column(Float(53))
    profit_current: Mapped[float | None] = mapped_column(Float(53))
    profit_proposed: Mapped[float | None] = mapped_column(Float(53))
    gain_low: Mapped[float | None] = mapped_column(Float(53))
    gain_high: Mapped[float | None] = mapped_column(Float(53))
    elasticity: Mapped[float | None] = mapped_column(Float(53))
    elasticity_se: Mapped[float | None] = mapped_column(Float(53))
    identified: Mapped[bool]
    reason_code: Mapped[str]
    reason_values: Mapped[dict[str, Any]]


class CouponLineRow(Table):
    """One customer who is sent an offer."""

    __tablename__ = "coupon_lines"
    proposal_number: Mapped[int] = mapped_column(ForeignKey("proposals.number"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str]
    offer_id: Mapped[str]
    expected_incremental_profit: Mapped[float | None] = mapped_column(Float(53))
    expected_cost: Mapped[float | None] = mapped_column(Float(53))
    explored: Mapped[bool] = mapped_column(server_default=false())
    propensity: Mapped[float] = mapped_column(Float(53), server_default="1")
    """Chance of the draw where `explored`; 1 elsewhere."""
    __table_args__ = ({"sqlite_with_rowid": False},)


class FrontierPointRow(Table):
    """One point of a proposal's frontier; see engine.proposal.FrontierPlan."""

    __tablename__ = "frontier_points"
    proposal_number: Mapped[int] = mapped_column(ForeignKey("proposals.number"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    measure: Mapped[str] = mapped_column(String(32))
    level: Mapped[float | None] = mapped_column(Float(53))
    reached: Mapped[float] = mapped_column(Float(53))
    gain: Mapped[float] = mapped_column(Float(53))
    gain_low: Mapped[float] = mapped_column(Float(53))
    gain_high: Mapped[float] = mapped_column(Float(53))
    bound: Mapped[float] = mapped_column(Float(53))
    gap: Mapped[float] = mapped_column(Float(53))
    lines: Mapped[list[list[Any]]] = mapped_column(JSON)
    """The fields of engine.proposal.FrontierLine, in their order."""


class FrontierRequestRow(Table):
    """A frontier that somebody asked for after the proposal was stored; see engine.store.frontier_requests."""

    __tablename__ = "frontier_requests"
    number: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(String(64), unique=True)
    proposal_number: Mapped[int] = mapped_column(ForeignKey("proposals.number"))
    measure: Mapped[str] = mapped_column(String(32))
    levels: Mapped[list[float]] = mapped_column(JSON)
    asked_by: Mapped[str]
    asked_at: Mapped[datetime]
    stage: Mapped[str]
    share: Mapped[float] = mapped_column(Float(53))
    error: Mapped[dict[str, Any] | None]
    place: Mapped[int | None]
    """Order in which the requests of a proposal were done, so that the numbers of points never move."""
    unreachable: Mapped[list[float]] = mapped_column(JSON)
    points: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """The fields of engine.proposal.FrontierPlan, without those of the request."""
    content_sha256: Mapped[str | None] = mapped_column(String(64))
    __table_args__ = (Unique("proposal_number", "place"),)


class AuditRow(Table):
    """One event; never changed, never removed (triggers see to it), hashed over the event before."""

    __tablename__ = "audit"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    subject: Mapped[str]
    """Kind and identifier, such as ``proposal:p-20261123-1a2b3c``."""
    action: Mapped[str]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    why: Mapped[str]
    detail: Mapped[dict[str, Any]]
    previous_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    """Unique: two events can never follow the same one."""
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    __table_args__ = (Index("ix_audit_subject_sequence", "subject", "sequence"),)


class UserRow(Table):
    """Somebody who may sign in. `password_hash` is argon2id; NULL until the set-up link was used."""

    __tablename__ = "users"
    user_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class SessionRow(Table):
    """A sign-in. Only the SHA-256 of its token is kept."""

    __tablename__ = "sessions"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.user_id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ApiTokenRow(Table):
    """A bearer token of a program. Only its SHA-256 is kept."""

    __tablename__ = "api_tokens"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class SetupLinkRow(Table):
    """A link that lets its holder choose a password, once. Only its SHA-256 is kept."""

    __tablename__ = "setup_links"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_name: Mapped[str | None]
    """NULL: the first administrator, who chooses a name too."""
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SignInFailureRow(Table):
    """A failed sign-in, under keyed hashes of the name and the address; forgotten after the window."""

    __tablename__ = "sign_in_failures"
    failure_id: Mapped[int] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    __table_args__ = (Index("ix_sign_in_failures_bucket_at", "bucket", "at"),)


class LeaseRow(Table):
    """Who runs a job now. `fence` grows with every holder, so that a late one is recognised."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str | None]
    fence: Mapped[int]
    heartbeat_at: Mapped[datetime]


class JobRunRow(Table):
    """One attempt at a job for one slot of its schedule."""

    __tablename__ = "job_runs"
    run_id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(String(64))
    slot: Mapped[str] = mapped_column(String(64))
    attempt: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    holder: Mapped[str]
    fence: Mapped[int]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    __table_args__ = (Unique("job", "slot", "attempt"), Index("ix_job_runs_job_started_at", "job", "started_at"))


class ExperimentRow(Table):
    """An experiment: its present design, the salt of its assignment, the last reading, beside a proposal's promise."""

    __tablename__ = "experiments"
    experiment_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    proposal_number: Mapped[int | None] = mapped_column(ForeignKey("proposals.number"), index=True)
    salt: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(String(16), server_default="designed", index=True)
    version: Mapped[int] = mapped_column(server_default="1")
    design: Mapped[dict[str, Any]]
    reading: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]


class ExperimentVersionRow(Table):
    """A design as it stood, with the reason for it; never changed."""

    __tablename__ = "experiment_versions"
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.experiment_id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    design: Mapped[dict[str, Any]]
    why: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class ExperimentReadingRow(Table):
    """One look at an experiment; never changed."""

    __tablename__ = "experiment_readings"
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.experiment_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    reading: Mapped[dict[str, Any]]
    read_at: Mapped[datetime]
    read_by: Mapped[str]


class ExperimentExposureRow(Table):
    """A unit was shown a variant; never changed. The same unit, variant and moment are one exposure."""

    __tablename__ = "experiment_exposures"
    number: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.experiment_id"))
    unit_id: Mapped[str] = mapped_column(String(255))
    variant: Mapped[int]
    at: Mapped[datetime]
    attributes: Mapped[dict[str, Any]]
    __table_args__ = (Unique("experiment_id", "unit_id", "variant", "at"),)


class ExperimentOutcomeRow(Table):
    """What a unit did: columns of metrics, with their values; never changed."""

    __tablename__ = "experiment_outcomes"
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.experiment_id"), primary_key=True)
    outcome_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Of the sender: the order, the receipt. The same one is taken once."""
    unit_id: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime]
    measured: Mapped[dict[str, Any]]


class IdempotencyRow(Table):
    """The answer that was given to a write, so that the same key gets the same answer."""

    __tablename__ = "idempotency_keys"
    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    """NULL: the first request is still being worked on."""
    body: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class BanditRow(Table):
    """A bandit: its design, which never changes, and what it has learned and spent so far."""

    __tablename__ = "bandits"
    bandit_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    arms: Mapped[list[str]] = mapped_column(JSON)
    design: Mapped[dict[str, Any]]
    state: Mapped[dict[str, Any]]
    decisions: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class BanditDecisionRow(Table):
    """One decision of a bandit, with the chance with which it was made, and what it brought once that is known."""

    __tablename__ = "bandit_decisions"
    number: Mapped[int] = mapped_column(primary_key=True)
    decision_id: Mapped[str] = mapped_column(String(32), unique=True)
    bandit_id: Mapped[str] = mapped_column(ForeignKey("bandits.bandit_id"), index=True)
    unit_id: Mapped[str]
    arm: Mapped[int]
    propensity: Mapped[float]
    context: Mapped[list[float]] = mapped_column(JSON)
    at: Mapped[datetime]
    reward: Mapped[float | None]
    rewarded_at: Mapped[datetime | None]
