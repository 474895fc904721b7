"""What happened in an experiment: who was shown which variant, and what they did. Sent as often as the sender likes.

Nothing is judged here: exposures before the start, clocks that are wrong and units in two variants are kept as they
came, for the checks of a reading to name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from engine.errors import ConflictError, InputError, NotFoundError, StateError
from engine.files import plain
from engine.store.database import Database
from engine.store.experiments import ExperimentState
from engine.store.tables import ExperimentExposureRow, ExperimentOutcomeRow, ExperimentRow, as_utc

MOST_ASKED = 500
"""Identifiers in one query; databases bound them."""


@dataclass(frozen=True)
class Exposure:
    """A unit was shown a variant."""

    unit_id: str
    variant: int
    at: datetime
    attributes: Mapping[str, Any]
    """What was known of the unit before: covariates, segments."""


@dataclass(frozen=True)
class UnitOutcome:
    """What a unit did."""

    outcome_id: str
    """Of the sender, such as the order's number."""
    unit_id: str
    at: datetime
    measured: Mapping[str, Any]
    """Numbers by column; None: not known."""


class ExperimentLogs:
    """Exposures and outcomes of the experiments of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_exposures(self, experiment_id: str, exposures: Sequence[Exposure]) -> int:
        """Keep exposures; one that is known already changes nothing.

        Returns:
            Number of exposures that were new.

        Raises:
            NotFoundError: there is no such experiment.
            StateError: it has not started.
            InputError: an exposure is from after its end.
        """
        with self._database.write() as connection:
            ended = _taking(connection, experiment_id)
            late = next((one for one in exposures if ended is not None and as_utc(one.at) > ended), None)
            if late is not None:
                raise InputError(
                    f"unit {late.unit_id!r} was exposed {late.at.isoformat()}, after experiment {experiment_id!r} "
                    f"ended ({ended.isoformat() if ended else ''}): it takes no part; leave such exposures out"
                )
            row = ExperimentExposureRow
            known: set[tuple[Any, ...]] = set()
            for some in _chunks([one.unit_id for one in exposures]):
                query = select(row.unit_id, row.variant, row.at).where(row.experiment_id == experiment_id)
                known |= {tuple(found) for found in connection.execute(query.where(row.unit_id.in_(some)))}
            news = {_moment(one): one for one in exposures if _moment(one) not in known}
            if news:
                values = [{"experiment_id": experiment_id, **plain_of(one), "at": one.at} for one in news.values()]
                connection.execute(insert(row), values)
        return len(news)

    def take_outcomes(self, experiment_id: str, outcomes: Sequence[UnitOutcome]) -> int:
        """Keep outcomes; one that is known already changes nothing.

        Returns:
            Number of outcomes that were new.

        Raises:
            NotFoundError: there is no such experiment.
            StateError: it has not started.
            ConflictError: an outcome's identifier is known with other values.
        """
        row = ExperimentOutcomeRow
        with self._database.write() as connection:
            _taking(connection, experiment_id)
            known: dict[str, UnitOutcome] = {}
            for some in _chunks([one.outcome_id for one in outcomes]):
                query = select(row.outcome_id, row.unit_id, row.at, row.measured)
                query = query.where(row.experiment_id == experiment_id, row.outcome_id.in_(some))
                known |= {found.outcome_id: UnitOutcome(**found._mapping) for found in connection.execute(query)}
            news: dict[str, UnitOutcome] = {}
            for one in outcomes:
                before = known.get(one.outcome_id) or news.get(one.outcome_id)
                if before is None:
                    news[one.outcome_id] = one
                elif not _same(before, one):
                    raise ConflictError(
                        f"outcome {one.outcome_id!r} of experiment {experiment_id!r} is known already, with other "
                        "values; an outcome is taken once: send a correction as an outcome of its own"
                    )
            if news:
                values = [{"experiment_id": experiment_id, **plain_of(one), "at": one.at} for one in news.values()]
                connection.execute(insert(row), values)
        return len(news)

    def counts(self, experiment_id: str) -> tuple[int, int]:
        """Count the exposures and the outcomes that were taken."""
        with self._database.read() as connection:
            exposures, outcomes = (
                int(connection.execute(select(func.count()).where(row.experiment_id == experiment_id)).scalar_one())
                for row in (ExperimentExposureRow, ExperimentOutcomeRow)
            )
        return exposures, outcomes

    def exposures(self, experiment_id: str) -> tuple[Exposure, ...]:
        """Read the exposures, in the order in which they came."""
        row = ExperimentExposureRow
        query = select(row.unit_id, row.variant, row.at, row.attributes).where(row.experiment_id == experiment_id)
        with self._database.read() as connection:
            return tuple(Exposure(**found._mapping) for found in connection.execute(query.order_by(row.number)))

    def outcomes(self, experiment_id: str) -> tuple[UnitOutcome, ...]:
        """Read the outcomes, by identifier."""
        row = ExperimentOutcomeRow
        query = select(row.outcome_id, row.unit_id, row.at, row.measured).where(row.experiment_id == experiment_id)
        with self._database.read() as connection:
            return tuple(UnitOutcome(**found._mapping) for found in connection.execute(query.order_by(row.outcome_id)))


def _taking(connection: Connection, experiment_id: str) -> datetime | None:
    """End of an experiment that takes events; None: it runs.

    Raises:
        NotFoundError: there is no such experiment.
        StateError: it has not started.
    """
    row = ExperimentRow
    found = connection.execute(select(row.state, row.ended_at).where(row.experiment_id == experiment_id)).first()
    if found is None:
        raise NotFoundError(f"no experiment {experiment_id!r}")
    if found.state == ExperimentState.DESIGNED:
        raise StateError(f"experiment {experiment_id!r} has not started; start it before anybody is exposed")
    ended: datetime | None = found.ended_at
    return ended


def _chunks(identifiers: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(identifiers), MOST_ASKED):
        yield list(identifiers[first : first + MOST_ASKED])


def _moment(one: Exposure) -> tuple[Any, ...]:
    return one.unit_id, one.variant, as_utc(one.at)


def _same(before: UnitOutcome, now: UnitOutcome) -> bool:
    return (before.unit_id, as_utc(before.at), before.measured) == (now.unit_id, as_utc(now.at), now.measured)


def plain_of(one: Exposure | UnitOutcome) -> dict[str, Any]:
    """An event as plain values."""
    values: dict[str, Any] = plain(one)
    return values
