"""Frontiers that were asked for on a page or over the API: computed one after the other, outside the request.

One runner works on them at a time (the lease of a job says which, see api.jobs), from the proposal's own settings and
only while the shop's data are those of the proposal. One that was killed in the middle is taken up again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from api.fingerprints import configuration_fingerprint
from api.jobs import Clock, heartbeats, mark_failed, utc_now
from engine.errors import ConfigurationError, ConflictError, OfferwrightError
from engine.progress import Stopwatch
from engine.proposal import N_, FrontierPlan, Proposal, Reason, Sentence
from engine.settings import Settings
from engine.store import FrontierRequest, JobRun, Store
from engine.store.jobs import MOST_ATTEMPTS

JOB = "frontier"
SILENT_SECONDS = 120
"""A runner that was silent for this long is taken for dead."""
OTHER_DATA = (
    "the data of {data} are no longer those of proposal {proposal}; run again and ask for the frontier of the "
    "new proposal"
)
OTHER_RULES = (
    "the rules in {file} are no longer those of proposal {proposal}; run again and ask for the frontier of the new "
    "proposal"
)
OTHER_SETTINGS = "this version cannot read the settings of proposal {proposal}: run again ({why})"
GIVEN_UP = "its computation was killed {attempts} times; the log of the server says more"
UNFORESEEN = N_("this was not foreseen; the log of the server says more")
_log = logging.getLogger(__name__)


@dataclass
class StoredProgress:
    """Progress that is kept in the store, where a page reads it; at most one write a second."""

    store: Store
    request_id: str
    stages: list[str] = field(default_factory=list)
    told: float = 0.0

    def begin(self, stage: str) -> None:
        """Keep the stage at once."""
        self.stages.append(stage)
        self._tell(0.0)

    def advance(self, share: float) -> None:
        """Keep the share of the stage."""
        if self.stages and time.monotonic() - self.told > 1:
            self._tell(min(max(share, 0.0), 1.0))

    def end(self) -> None:
        """Go back to the stage around this one."""
        if self.stages:
            self.stages.pop()

    def _tell(self, share: float) -> None:
        self.told = time.monotonic()
        self.store.frontier_requests.tell(self.request_id, self.stages[0], share if len(self.stages) == 1 else 0.0)


def settings_of(proposal: Proposal, settings: Settings) -> Settings:
    """The settings that a proposal was made with, in this process: its store, home, memory and log are our own.

    Raises:
        ConfigurationError: they hold what this version does not know.
    """
    kept: Mapping[str, Any] = proposal.evidence.get("settings") or {}
    ours = settings.model_dump(mode="json")
    own = {name: ours["data"][name] for name in ("home", "memory_limit_gb", "threads")}
    data = {**ours["data"], **kept.get("data", {}), **own}
    around = {name: ours[name] for name in ("store", "server", "jobs", "log")}
    try:
        return Settings.model_validate({**ours, **kept, **around, "data": data})
    except ValidationError as error:
        values = {"proposal": proposal.proposal_id, "why": str(error.errors()[0]["msg"])}
        raise ConfigurationError(Reason(OTHER_SETTINGS, values)) from error


def find_points(
    proposal: Proposal, request: FrontierRequest, settings: Settings, watch: Stopwatch
) -> tuple[tuple[FrontierPlan, ...], tuple[float, ...]]:
    """Compute a frontier of a stored proposal; its points, and the levels that no prices keep.

    Raises:
        ConflictError: the data, or a file of business rules, are others by now.
        ConfigurationError: settings that this version cannot read.
        InfeasibleError: no level can be kept under the rules.
    """
    from api.frontier import frontier_of
    from api.frontier_plans import measured_plans
    from api.price_stage import pose_prices
    from engine.sources import open_shop

    given = settings_of(proposal, settings)
    _require_same_rules(proposal, given)
    with watch.stage("load"):
        shop = open_shop(given.data.source, given, watch.listener)
    if shop.fingerprint != (proposal.summary.get("fingerprints") or {}).get("data"):
        raise ConflictError(Reason(OTHER_DATA, {"data": proposal.data, "proposal": proposal.proposal_id}))
    posed = pose_prices(shop, given, watch)
    with watch.stage("frontier"):
        found = frontier_of(posed, request.measure, request.levels, given, watch.listener)
    return measured_plans(posed.problem, found), found.unreachable


def _require_same_rules(proposal: Proposal, given: Settings) -> None:
    """Rules that stand in a file are not part of the settings, but of their fingerprint."""
    prints = proposal.summary.get("fingerprints") or {}
    if isinstance(given.pricing.rules, str) and prints.get("configuration") != configuration_fingerprint(given):
        raise ConflictError(Reason(OTHER_RULES, {"file": given.pricing.rules, "proposal": proposal.proposal_id}))


def work_off(store: Store, settings: Settings, *, holder: str, clock: Clock = utc_now) -> int:
    """Compute what was asked for until nothing waits or another runner is at it; how many have ended."""
    ended = 0
    while (request := store.frontier_requests.next_open()) is not None:
        run = store.jobs.begin(JOB, request.request_id, holder=holder, now=clock(), lease_seconds=SILENT_SECONDS)
        if run is not None:
            _compute(store, settings, request, run, clock)
        elif not _give_up(store, request, holder, clock):
            return ended
        ended += 1
    return ended


def _give_up(store: Store, request: FrontierRequest, holder: str, clock: Clock) -> bool:
    """Close what killed its runner time and again; False: it is another runner's."""
    tried = sum(run.slot == request.request_id for run in store.jobs.recent(JOB, limit=50))
    if tried < MOST_ATTEMPTS or store.jobs.held(JOB, now=clock(), lease_seconds=SILENT_SECONDS):
        return False
    store.frontier_requests.fail(request.request_id, Reason(GIVEN_UP, {"attempts": tried}), by=holder, now=clock())
    return True


def _compute(store: Store, settings: Settings, request: FrontierRequest, run: JobRun, clock: Clock) -> None:
    """Work on one; whatever goes wrong with it is said beside it, and the next one gets its turn."""
    watch = Stopwatch(StoredProgress(store, request.request_id))
    try:
        with heartbeats(store, run, SILENT_SECONDS / 4, clock):
            found = find_points(store.proposal(request.proposal_id), request, settings, watch)
    except Exception as error:
        _log.exception("frontier failed", extra={"request": request.request_id})
        store.jobs.fail(run, error=str(error), now=clock())  # refused where another runner took over: then it is his
        why: Sentence = error.sentence if isinstance(error, OfferwrightError) else UNFORESEEN
        store.frontier_requests.fail(request.request_id, why, by=request.asked_by, now=clock())
    except BaseException as error:
        mark_failed(store, run, error, clock())
        raise
    else:
        store.jobs.heartbeat(run, now=clock())
        store.frontier_requests.complete(request.request_id, *found, by=request.asked_by, now=clock())
        store.jobs.finish(run, result={"points": len(found[0])}, now=clock())
