"""The operational store: proposals and their life, the audit, accounts, job runs, experiments, bandits.

    store = open_store(settings.store_url)                  # refuses a schema of another version
    store = open_store(settings.store_url, upgrade=True)    # creates the schema in a fresh SQLite file first
    upgrade_store(settings.store_url)                       # brings an older schema up to date

This package alone speaks SQL; every time it keeps comes from the caller's `now`.
"""

from __future__ import annotations

from typing import Self

from engine.store.accounts import Account, Accounts, Role, SetupLink
from engine.store.audit import AuditCheck, AuditEvent, check_chain, read_events
from engine.store.bandits import BanditDecision, Bandits, Drawn, StoredBandit
from engine.store.database import Database
from engine.store.experiment_logs import ExperimentLogs, Exposure, UnitOutcome
from engine.store.experiments import DesignVersion, Experiments, ExperimentState, StoredExperiment, StoredReading
from engine.store.frontier_requests import FrontierRequest, FrontierRequests
from engine.store.idempotency import Answer, Answers
from engine.store.jobs import JobRun, JobRuns
from engine.store.lines import Order, Shown
from engine.store.proposals import Page, ProposalHeader, Proposals
from engine.store.schema import is_fresh, require_current
from engine.store.schema import upgrade as upgrade_schema

__all__ = [
    "Account",
    "Answer",
    "AuditCheck",
    "AuditEvent",
    "BanditDecision",
    "Bandits",
    "DesignVersion",
    "Drawn",
    "ExperimentState",
    "Exposure",
    "FrontierRequest",
    "JobRun",
    "Order",
    "Page",
    "ProposalHeader",
    "Role",
    "SetupLink",
    "Shown",
    "Store",
    "StoredBandit",
    "StoredExperiment",
    "StoredReading",
    "UnitOutcome",
    "open_store",
    "upgrade_store",
]


class Store:
    """Everything that is kept, in one database. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        proposals = Proposals(database)
        self.save_proposal = proposals.save
        self.proposal = proposals.get
        self.proposals = proposals.page
        self.week_plans = proposals.week_plans
        self.header = proposals.header
        self.evidence = proposals.evidence
        self.price_lines = proposals.price_lines
        self.coupon_lines = proposals.coupon_lines
        self.frontier = proposals.frontier
        self.change_state = proposals.change_state
        self.audit = proposals.events
        self.made_by = proposals.made_by
        self.proposal_counts = proposals.counts
        self._altered = proposals.altered
        self.accounts = Accounts(database)
        self.jobs = JobRuns(database)
        self.experiments = Experiments(database)
        self.experiment_logs = ExperimentLogs(database)
        self.frontier_requests = FrontierRequests(database)
        self.answers = Answers(database)
        self.bandits = Bandits(database)

    def check_audit(self) -> AuditCheck:
        """Walk the audit chain and compare every proposal with what the audit says it was when saved."""
        with self._database.read() as connection:
            check = check_chain(connection)
        return AuditCheck(
            check.events, check.head_sha256, check.faults + self._altered() + self.frontier_requests.altered()
        )

    def latest_events(self, limit: int = 100) -> tuple[AuditEvent, ...]:
        """Read the last events of every kind, oldest first."""
        with self._database.read() as connection:
            return tuple(read_events(connection, limit=limit))

    def ready(self) -> None:
        """Make sure that the database answers and has the right schema.

        Raises:
            StorageError: it does not.
        """
        require_current(self._database)

    def close(self) -> None:
        """Give all connections back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(url: str, *, upgrade: bool = False) -> Store:
    """Open the store at a SQLAlchemy URL.

    Args:
        url: of SQLite or PostgreSQL.
        upgrade: create the schema first where the database is a SQLite file without any table. An older schema is
            never changed behind anybody's back: that is `upgrade_store`, after a backup.

    Raises:
        ConfigurationError: the URL is not one of SQLite or PostgreSQL.
        StorageError: it cannot be reached, or its schema is behind (the message says what to run).
        ConflictError: its schema belongs to a newer version.
    """
    database = Database(url)
    try:
        if upgrade and database.is_sqlite and is_fresh(database):
            upgrade_schema(database)
        require_current(database)
    except BaseException:
        database.close()
        raise
    return Store(database)


def upgrade_store(url: str) -> tuple[str | None, str]:
    """Bring the schema up to date in one transaction.

    Returns:
        Revision before (None: there was no schema), revision after.

    Raises:
        As `open_store`.
    """
    database = Database(url)
    try:
        return upgrade_schema(database)
    finally:
        database.close()
