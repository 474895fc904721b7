"""Proposals in the store: saved whole, read whole or page by page, moved along their life."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import ConflictError, InputError, NotFoundError, StateError
from engine.files import plain, to_json
from engine.proposal import N_, TRANSITIONS, CouponLine, FrontierPlan, PriceLine, Proposal, Reason, Sentence, State
from engine.store.audit import AuditEvent, append_event, read_events
from engine.store.database import Database
from engine.store.frontiers import frontier_rows, hashed_frontier_point, read_frontier_point
from engine.store.lines import (
    ORDERS,
    Order,
    Shown,
    coupon_rows,
    hashed_coupon_line,
    hashed_price_line,
    insert_lines,
    price_conditions,
    price_rows,
    read_coupon_line,
    read_price_line,
    select_lines,
)
from engine.store.tables import CouponLineRow, FrontierPointRow, PriceLineRow, ProposalRow

RUN_KEY_PREFIX = "job:"
"""A proposal whose `created_by` starts like this belongs to one slot of a scheduled job; a slot has one proposal."""

STORED_ALREADY = "proposal {proposal} (made by {author}) is stored already; open it instead of saving it again"
NO_PROPOSAL = "no proposal {proposal!r}; list them at /proposals"
WRONG_STEP = "proposal {proposal} is {state}, it cannot become {to}; possible: {possible}"
NO_STEP = N_("nothing: its life has ended")
OWN_PROPOSAL = "proposal {proposal} was submitted by {person}; somebody else has to approve it"
SAY_WHY = "proposal {proposal}: say why it becomes {to}; the one who made it will read it"

Item = TypeVar("Item")
_NEEDS_A_REASON = frozenset({State.REJECTED, State.CHANGES_REQUESTED, State.ROLLED_BACK})


@dataclass(frozen=True)
class ProposalHeader:
    """A proposal without lines and evidence, as lists show it."""

    proposal_id: str
    data: str
    state: State
    created_at: datetime
    created_by: str
    submitted_by: str | None
    horizon_weeks: int
    currency: str
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list. Pages count from 1."""

    items: tuple[Item, ...]
    page: int
    size: int
    total: int

    @property
    def pages(self) -> int:
        """How many pages there are; an empty list has one."""
        return max(1, math.ceil(self.total / self.size))


class Proposals:
    """The proposals of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, proposal: Proposal) -> None:
        """Store a proposal with all its lines and the first event of its life, in one transaction.

        Raises:
            ConflictError: a proposal with this identifier, or for this slot of a scheduled job, is stored already.
            StorageError: the database did not take it; nothing of it was stored.
        """
        try:
            with self._database.write() as connection:
                digest = content_sha256(proposal)
                number = _insert_header(connection, proposal, digest)
                insert_lines(connection, PriceLineRow, price_rows(number, proposal.prices))
                insert_lines(connection, CouponLineRow, coupon_rows(number, proposal.coupons))
                insert_lines(connection, FrontierPointRow, frontier_rows(number, proposal.frontier))
                append_event(connection, _created(proposal, digest))
        except IntegrityError as error:
            values = {"proposal": proposal.proposal_id, "author": proposal.created_by}
            raise ConflictError(Reason(STORED_ALREADY, values)) from error

    def get(self, proposal_id: str) -> Proposal:
        """Read a proposal whole.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            row = find_proposal(connection, proposal_id)
            prices = connection.execute(select_lines(PriceLineRow, row.number).order_by(PriceLineRow.position))
            coupons = connection.execute(select_lines(CouponLineRow, row.number).order_by(CouponLineRow.position))
            return Proposal(
                proposal_id=row.proposal_id,
                data=row.data,
                state=State(row.state),
                created_at=row.created_at,
                created_by=row.created_by,
                horizon_weeks=row.horizon_weeks,
                currency=row.currency,
                summary=row.summary,
                evidence=row.evidence,
                prices=tuple(read_price_line(line) for line in prices),
                coupons=tuple(read_coupon_line(line) for line in coupons),
                frontier=_frontier(connection, row.number),
            )

    def header(self, proposal_id: str) -> ProposalHeader:
        """Read a proposal without lines and evidence.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            return _header(find_proposal(connection, proposal_id))

    def evidence(self, proposal_id: str) -> Mapping[str, Any]:
        """Read what the report draws from.

        Raises:
            NotFoundError: there is none with this identifier.
        """
        with self._database.read() as connection:
            return dict(find_proposal(connection, proposal_id).evidence)

    def page(self, *, page: int = 1, size: int = 20, state: State | None = None) -> Page[ProposalHeader]:
        """List the proposals, newest first; `state` keeps those in one state."""
        query = select(*_HEADER_COLUMNS)
        if state is not None:
            query = query.where(ProposalRow.state == state.value)
        with self._database.read() as connection:
            items, total = _page(connection, query, [ProposalRow.number.desc()], page, size)
        return Page(tuple(_header(row) for row in items), page, size, total)

    def price_lines(
        self,
        proposal_id: str,
        *,
        page: int = 1,
        size: int = 50,
        order: Order = "position",
        descending: bool = False,
        contains: str = "",
        shown: Shown = "all",
    ) -> Page[PriceLine]:
        """One page of price lines, sorted and filtered by the database.

        Args:
            proposal_id: whose lines.
            page: from 1.
            size: lines on a page.
            order: what to sort by; ties by position.
            descending: largest first.
            contains: text that must occur in product_id, title or category, in upper or lower case.
            shown: all lines, those that change, or those held at today's price.

        Raises:
            NotFoundError: there is no such proposal.
        """
        with self._database.read() as connection:
            query = select_lines(PriceLineRow, find_proposal(connection, proposal_id).number)
            query = query.where(*price_conditions(contains, shown))
            key = ORDERS[order]
            keys = [key.desc().nulls_last() if descending else key.asc().nulls_last(), PriceLineRow.position.asc()]
            items, total = _page(connection, query, keys, page, size)
        return Page(tuple(read_price_line(row) for row in items), page, size, total)

    def coupon_lines(self, proposal_id: str, *, page: int = 1, size: int = 50) -> Page[CouponLine]:
        """One page of coupon lines, in the order of the plan.

        Raises:
            NotFoundError: there is no such proposal.
        """
        with self._database.read() as connection:
            query = select_lines(CouponLineRow, find_proposal(connection, proposal_id).number)
            items, total = _page(connection, query, [CouponLineRow.position.asc()], page, size)
        return Page(tuple(read_coupon_line(row) for row in items), page, size, total)

    def frontier(self, proposal_id: str) -> tuple[FrontierPlan, ...]:
        """The other plans that were looked at, in their order.

        Raises:
            NotFoundError: there is no such proposal.
        """
        with self._database.read() as connection:
            return _frontier(connection, find_proposal(connection, proposal_id).number)

    def change_state(self, proposal_id: str, to: State, *, by: str, why: str, now: datetime) -> ProposalHeader:
        """Move a proposal along its life, with an event in the audit, in one transaction.

        Raises:
            NotFoundError: there is no such proposal.
            StateError: its life does not allow the step, or `by` would approve what they submitted themselves.
            InputError: the step needs a reason and `why` is empty.
        """
        with self._database.write() as connection:
            row = find_proposal(connection, proposal_id)
            _require_allowed(row, to, by, why)
            values: dict[str, Any] = {"state": to.value}
            if to is State.SUBMITTED:
                values["submitted_by"] = by
            connection.execute(update(ProposalRow).where(ProposalRow.number == row.number).values(values))
            append_event(connection, _moved(proposal_id, State(row.state), to, by=by, why=why, now=now))
            return _header(find_proposal(connection, proposal_id))

    def events(self, proposal_id: str) -> tuple[AuditEvent, ...]:
        """Everything that happened to a proposal, oldest first.

        Raises:
            NotFoundError: there is no such proposal.
        """
        with self._database.read() as connection:
            find_proposal(connection, proposal_id)
            return tuple(read_events(connection, subject_of(proposal_id)))

    def made_by(self, created_by: str) -> str | None:
        """Find the newest proposal made by a person or a scheduled slot; None where there is none."""
        with self._database.read() as connection:
            query = select(ProposalRow.proposal_id).where(ProposalRow.created_by == created_by)
            return connection.execute(query.order_by(ProposalRow.number.desc()).limit(1)).scalar()

    def week_plans(self, *, page: int = 1, size: int = 20) -> Page[ProposalHeader]:
        """List the proposals that hold a plan over weeks, newest first."""
        query = select(*_HEADER_COLUMNS).where(ProposalRow.summary["weeks"]["kind"].as_string().is_not(None))
        with self._database.read() as connection:
            items, total = _page(connection, query, [ProposalRow.number.desc()], page, size)
        return Page(tuple(_header(row) for row in items), page, size, total)

    def counts(self) -> Mapping[str, int]:
        """Count the proposals by state."""
        query = select(ProposalRow.state, func.count().label("held")).group_by(ProposalRow.state)
        with self._database.read() as connection:
            return {row.state: row.held for row in connection.execute(query)}

    def altered(self) -> tuple[str, ...]:
        """Say which proposals are no longer what they were when saved, or stand where their audit did not put them."""
        with self._database.read() as connection:
            headers = connection.execute(select(ProposalRow.proposal_id, ProposalRow.state)).all()
        return tuple(fault for row in headers for fault in self._alterations(row.proposal_id, row.state))

    def _alterations(self, proposal_id: str, state: str) -> Iterator[str]:
        events = self.events(proposal_id)
        if not events or events[-1].to_state != state:
            yield f"proposal {proposal_id}: its state {state} is not the one of its last event"
        if events and events[0].detail.get("content_sha256") != content_sha256(self.get(proposal_id)):
            yield f"proposal {proposal_id}: its content was changed after it was saved"


def subject_of(proposal_id: str) -> str:
    """Name of a proposal in the audit."""
    return f"proposal:{proposal_id}"


def content_sha256(proposal: Proposal) -> str:
    """SHA-256 over everything in a proposal but its state, the same before it is stored and after it is read."""
    digest = hashlib.sha256()
    head = {
        name: getattr(proposal, name)
        for name in ("proposal_id", "data", "created_by", "horizon_weeks", "currency", "summary", "evidence")
    }
    digest.update(to_json(head).encode())
    for line in proposal.prices:
        digest.update(hashed_price_line(line))
    for coupon in proposal.coupons:
        digest.update(hashed_coupon_line(coupon))
    for point in proposal.frontier:
        digest.update(hashed_frontier_point(point))
    return digest.hexdigest()


_HEADER_COLUMNS = [getattr(ProposalRow, name) for name in ProposalHeader.__dataclass_fields__]


def _insert_header(connection: Connection, proposal: Proposal, digest: str) -> int:
    values = {
        "proposal_id": proposal.proposal_id,
        "data": proposal.data,
        "state": proposal.state.value,
        "created_at": proposal.created_at,
        "created_by": proposal.created_by,
        "run_key": proposal.created_by if proposal.created_by.startswith(RUN_KEY_PREFIX) else None,
        "horizon_weeks": proposal.horizon_weeks,
        "currency": proposal.currency,
        "summary": plain(proposal.summary),
        "evidence": plain(proposal.evidence),
        "content_sha256": digest,
    }
    statement = insert(ProposalRow).values(values).returning(ProposalRow.number)
    return int(connection.execute(statement).scalar_one())


def find_proposal(connection: Connection, proposal_id: str) -> Row[Any]:
    """Row of a proposal.

    Raises:
        NotFoundError: there is none with this identifier.
    """
    query = select(ProposalRow.__table__).where(ProposalRow.proposal_id == proposal_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(Reason(NO_PROPOSAL, {"proposal": proposal_id}))
    return row


def _frontier(connection: Connection, number: int) -> tuple[FrontierPlan, ...]:
    rows = connection.execute(select_lines(FrontierPointRow, number).order_by(FrontierPointRow.position))
    return tuple(read_frontier_point(row) for row in rows)


def _header(row: Row[Any]) -> ProposalHeader:
    values = {name: getattr(row, name) for name in ProposalHeader.__dataclass_fields__}
    return ProposalHeader(**{**values, "state": State(row.state)})


def _require_allowed(row: Row[Any], to: State, by: str, why: str) -> None:
    state = State(row.state)
    if to not in TRANSITIONS[state]:
        possible = _named(sorted(TRANSITIONS[state]))
        values = {"proposal": row.proposal_id, "state": _word(state), "to": _word(to), "possible": possible}
        raise StateError(Reason(WRONG_STEP, values))
    if to is State.APPROVED and by == row.submitted_by:
        raise StateError(Reason(OWN_PROPOSAL, {"proposal": row.proposal_id, "person": by}))
    if to in _NEEDS_A_REASON and not why.strip():
        raise InputError(Reason(SAY_WHY, {"proposal": row.proposal_id, "to": _word(to)}))


def _word(state: State) -> str:
    """Write a state as people read it."""
    return state.value.replace("_", " ")


def _named(states: Sequence[State]) -> Sentence:
    """Name the states that are possible, so that each can be translated."""
    if not states:
        return NO_STEP
    named: Sentence = _word(states[0])
    for state in states[1:]:
        named = Reason("{first}, {second}", {"first": named, "second": _word(state)})
    return named


def _created(proposal: Proposal, digest: str) -> AuditEvent:
    return AuditEvent(
        actor=proposal.created_by,
        subject=subject_of(proposal.proposal_id),
        action="create",
        at=proposal.created_at,
        to_state=proposal.state.value,
        detail={"content_sha256": digest},
    )


def _moved(proposal_id: str, state: State, to: State, *, by: str, why: str, now: datetime) -> AuditEvent:
    return AuditEvent(
        actor=by,
        subject=subject_of(proposal_id),
        action="change_state",
        at=now,
        why=why.strip(),
        from_state=state.value,
        to_state=to.value,
    )


def _page(
    connection: Connection, query: Select[Any], order: Sequence[ColumnElement[Any]], page: int, size: int
) -> tuple[Sequence[Row[Any]], int]:
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(query.order_by(*order).limit(size).offset((page - 1) * size)).all()
    return rows, int(total)
