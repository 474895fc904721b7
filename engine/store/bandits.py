"""Bandits in the store: a design, a state that survives restarts, and every decision with what it was based on.

A decision and the state it leaves behind are written in one transaction, and so are a reward and what was learned from
it; writers queue up (see `Database.write`), so that a budget cannot be overspent by two of them, and no reward is
counted twice. The mathematics is the caller's: functions from the stored state to the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import ConflictError, NotFoundError
from engine.files import plain
from engine.store.audit import AuditEvent, append_event
from engine.store.database import Database
from engine.store.tables import BanditDecisionRow, BanditRow


@dataclass(frozen=True)
class StoredBandit:
    """A bandit as it stands."""

    bandit_id: str
    arms: tuple[str, ...]
    """Names, in the order of the design's arms."""
    design: Mapping[str, Any]
    state: Mapping[str, Any]
    decisions: int
    """Decisions made so far: with the design's seed, the stream of chance of the next ones."""
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class BanditDecision:
    """One decision, with all that off-policy evaluation needs."""

    decision_id: str
    unit_id: str
    arm: int
    propensity: float
    """Chance with which this arm was chosen, above 0 and up to 1."""
    context: tuple[float, ...]
    at: datetime
    reward: float | None = None
    """What it brought; None: not known yet."""


@dataclass(frozen=True)
class Drawn:
    """What the caller decided for each unit, before it has an identifier."""

    arm: Sequence[int]
    propensity: Sequence[float]
    state: Mapping[str, Any]
    """State to be kept afterwards."""


Decide = Callable[[StoredBandit], Drawn]
Learn = Callable[[StoredBandit, Sequence[BanditDecision]], Mapping[str, Any]]


class Bandits:
    """The bandits of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        bandit_id: str,
        *,
        arms: Sequence[str],
        design: Mapping[str, Any],
        state: Mapping[str, Any],
        by: str,
        now: datetime,
    ) -> StoredBandit:
        """Store a new bandit.

        Raises:
            ConflictError: the identifier is taken.
        """
        values = {"bandit_id": bandit_id, "arms": list(arms), "design": plain(design), "state": plain(state)}
        try:
            with self._database.write() as connection:
                made = {"decisions": 0, "created_at": now, "created_by": by}
                connection.execute(insert(BanditRow).values(values | made))
                detail = {"arms": list(arms), "design": design}
                append_event(
                    connection,
                    AuditEvent(actor=by, subject=f"bandit:{bandit_id}", action="start", at=now, detail=detail),
                )
        except IntegrityError as error:
            raise ConflictError(f"bandit {bandit_id!r} exists; choose another identifier") from error
        return self.get(bandit_id)

    def get(self, bandit_id: str) -> StoredBandit:
        """Read a bandit.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            return _bandit(connection, bandit_id)

    def all(self) -> tuple[StoredBandit, ...]:
        """Read all bandits, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(BanditRow.__table__).order_by(BanditRow.created_at, BanditRow.bandit_id))
            return tuple(_read(row) for row in rows)

    def decide(
        self, bandit_id: str, units: Sequence[str], contexts: Sequence[Sequence[float]], work: Decide, *, now: datetime
    ) -> tuple[BanditDecision, ...]:
        """Decide for units and log it, in one transaction.

        Args:
            bandit_id: which bandit.
            units: who or what is decided for.
            contexts: features of each unit; empty sequences where the policy has none.
            work: from the bandit as it stands to what is drawn; nothing is stored if it raises.
            now: moment of the decision.
        """
        with self._database.write() as connection:
            bandit = _bandit(connection, bandit_id)
            drawn = work(bandit)
            made = tuple(
                BanditDecision(uuid.uuid4().hex, unit, int(arm), float(chance), tuple(map(float, context)), now)
                for unit, arm, chance, context in zip(units, drawn.arm, drawn.propensity, contexts, strict=True)
            )
            if made:
                connection.execute(insert(BanditDecisionRow), [_row(bandit_id, decision) for decision in made])
            _keep(connection, bandit_id, drawn.state, bandit.decisions + len(made))
        return made

    def reward(self, bandit_id: str, rewards: Mapping[str, float], work: Learn, *, now: datetime) -> int:
        """Take rewards of decisions and learn from them, in one transaction.

        A reward that is known already is passed over, so that a repeated report changes nothing.

        Returns:
            Number of rewards that were new.

        Raises:
            NotFoundError: a decision is not one of this bandit's.
            ConflictError: a decision has another reward already.
        """
        with self._database.write() as connection:
            bandit = _bandit(connection, bandit_id)
            news = _news(_decisions(connection, bandit_id, list(rewards)), bandit_id, rewards)
            if not news:
                return 0
            state = work(bandit, news)
            mark = update(BanditDecisionRow).where(BanditDecisionRow.decision_id == bindparam("which"))
            marks = [{"which": d.decision_id, "reward": d.reward, "rewarded_at": now} for d in news]
            connection.execute(mark.values(reward=bindparam("reward"), rewarded_at=bindparam("rewarded_at")), marks)
            _keep(connection, bandit_id, state, bandit.decisions)
        return len(news)

    def change(
        self, bandit_id: str, work: Callable[[StoredBandit], Mapping[str, Any]], *, action: str, by: str, now: datetime
    ) -> StoredBandit:
        """Change the state on somebody's order, such as removing an arm; the order goes into the audit."""
        with self._database.write() as connection:
            bandit = _bandit(connection, bandit_id)
            _keep(connection, bandit_id, work(bandit), bandit.decisions)
            _audit(connection, bandit_id, action, by, now, {})
        return self.get(bandit_id)

    def log(self, bandit_id: str) -> tuple[BanditDecision, ...]:
        """Read all decisions, in the order in which they were made."""
        with self._database.read() as connection:
            _bandit(connection, bandit_id)
            return tuple(_decisions(connection, bandit_id, None))


def _bandit(connection: Connection, bandit_id: str) -> StoredBandit:
    row = connection.execute(select(BanditRow.__table__).where(BanditRow.bandit_id == bandit_id)).first()
    if row is None:
        raise NotFoundError(f"no bandit {bandit_id!r}")
    return _read(row)


def _read(row: Any) -> StoredBandit:  # noqa: ANN401 - a row of any dialect
    return StoredBandit(**{**row._mapping, "arms": tuple(row.arms)})


def _audit(
    connection: Connection, bandit_id: str, action: str, by: str, now: datetime, detail: Mapping[str, Any]
) -> None:
    event = AuditEvent(actor=by, subject=f"bandit:{bandit_id}", action=action, at=now, detail=detail)
    append_event(connection, event)


def _keep(connection: Connection, bandit_id: str, state: Mapping[str, Any], decisions: int) -> None:
    statement = update(BanditRow).where(BanditRow.bandit_id == bandit_id)
    connection.execute(statement.values(state=plain(state), decisions=decisions))


def _row(bandit_id: str, decision: BanditDecision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "bandit_id": bandit_id,
        "unit_id": decision.unit_id,
        "arm": decision.arm,
        "propensity": decision.propensity,
        "context": list(decision.context),
        "at": decision.at,
    }


def _decisions(connection: Connection, bandit_id: str, which: list[str] | None) -> list[BanditDecision]:
    table = BanditDecisionRow
    query = select(
        table.decision_id, table.unit_id, table.arm, table.propensity, table.context, table.at, table.reward
    ).where(table.bandit_id == bandit_id)
    if which is not None:
        query = query.where(table.decision_id.in_(which))
    found = connection.execute(query.order_by(table.number))
    return [BanditDecision(**{**row._mapping, "context": tuple(row.context)}) for row in found]


def _news(found: list[BanditDecision], bandit_id: str, rewards: Mapping[str, float]) -> list[BanditDecision]:
    unknown = set(rewards) - {decision.decision_id for decision in found}
    if unknown:
        raise NotFoundError(f"bandit {bandit_id!r} made no decision {min(unknown)!r}")
    for decision in found:
        if decision.reward is not None and decision.reward != rewards[decision.decision_id]:
            raise ConflictError(
                f"decision {decision.decision_id!r} was rewarded with {decision.reward:g} already, not "
                f"{rewards[decision.decision_id]:g}; a reward is taken once"
            )
    return [
        BanditDecision(**{**decision.__dict__, "reward": float(rewards[decision.decision_id])})
        for decision in found
        if decision.reward is None
    ]
