"""The routes of experiments: design, start, assign, exposures, outcomes, analysis, end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response

from api import experiment_schemas as schemas
from api import experiments
from api.access import asker, current_time, needs, the_settings, the_store
from api.exchange import PAGING, Operation, api, body, choice, described, model_answer, once, paging
from api.language import say
from api.schemas import ChangeIn
from engine.store import ExperimentState, Exposure, Role, StoredExperiment, StoredReading, UnitOutcome

_STATES = tuple(state.value for state in ExperimentState)
_IN_STATE = ("state", {"type": "string", "enum": list(_STATES)}, "Only those in this state.")


@api.get("/experiments")
@described(Operation("List the experiments, newest first.", schemas.ExperimentsOut, Role.VIEWER, (*PAGING, _IN_STATE)))
@needs(Role.VIEWER)
def list_experiments() -> Response:
    """List the experiments."""
    state = choice("state", _STATES, None)
    page = the_store().experiments.page(**paging(), state=ExperimentState(state) if state else None)
    items = [_out(one) for one in page.items]
    return model_answer(
        schemas.ExperimentsOut(items=items, page=page.page, size=page.size, total=page.total, pages=page.pages)
    )


@api.post("/experiments")
@described(
    Operation("Design an experiment and store it.", schemas.ExperimentOut, Role.ANALYST, body=schemas.ExperimentIn)
)
@needs(Role.ANALYST)
def design_experiment() -> Response:
    """Design an experiment."""
    asked = body(schemas.ExperimentIn)

    def work() -> Response:
        experiments.refuse_known(the_store(), asked.experiment_id)
        return model_answer(_out(_designed(asked.experiment_id, asked, why="")))

    return once(work)


@api.get("/experiments/<experiment_id>")
@described(Operation("Read an experiment with its design.", schemas.ExperimentOut, Role.VIEWER))
@needs(Role.VIEWER)
def read_experiment(experiment_id: str) -> Response:
    """Read one experiment."""
    return model_answer(_out(the_store().experiments.get(experiment_id)))


@api.get("/experiments/<experiment_id>/versions")
@described(Operation("Read every version of a design, with its reason.", schemas.VersionsOut, Role.VIEWER))
@needs(Role.VIEWER)
def read_versions(experiment_id: str) -> Response:
    """Read the versions of a design."""
    kept = the_store().experiments.versions(experiment_id)
    return model_answer(schemas.VersionsOut(items=[schemas.VersionOut.model_validate(one) for one in kept]))


@api.post("/experiments/<experiment_id>/versions")
@described(
    Operation(
        "Design an experiment anew; once it runs, with a reason and with everybody where they are.",
        schemas.ExperimentOut,
        Role.ANALYST,
        body=schemas.VersionIn,
    )
)
@needs(Role.ANALYST)
def redesign_experiment(experiment_id: str) -> Response:
    """Store a new version of a design."""
    asked = body(schemas.VersionIn)

    def work() -> Response:
        the_store().experiments.get(experiment_id)
        return model_answer(_out(_designed(experiment_id, asked, why=asked.why)))

    return once(work)


@api.post("/experiments/<experiment_id>/start")
@described(Operation("Start an experiment: its design is locked.", schemas.ExperimentOut, Role.ANALYST, body=ChangeIn))
@needs(Role.ANALYST)
def start_experiment(experiment_id: str) -> Response:
    """Start an experiment."""
    body(ChangeIn)
    return once(
        lambda: model_answer(_out(the_store().experiments.start(experiment_id, by=asker().name, now=current_time())))
    )


@api.post("/experiments/<experiment_id>/end")
@described(Operation("End an experiment, with the decision taken.", schemas.ExperimentOut, Role.ANALYST, body=ChangeIn))
@needs(Role.ANALYST)
def end_experiment(experiment_id: str) -> Response:
    """End an experiment."""
    why = body(ChangeIn).why
    return once(
        lambda: model_answer(
            _out(the_store().experiments.end(experiment_id, why=why, by=asker().name, now=current_time()))
        )
    )


@api.post("/experiments/<experiment_id>/assign")
@described(
    Operation(
        "Say which variant each unit is in: the same one whenever it is asked.",
        schemas.AssignmentsOut,
        Role.ANALYST,
        body=schemas.AssignIn,
    )
)
@needs(Role.ANALYST)
def assign_units(experiment_id: str) -> Response:
    """Assign units; nothing is written, for the design knows."""
    asked = body(schemas.AssignIn)
    stored = the_store().experiments.get(experiment_id)
    found = experiments.assign_units(stored, [u.unit_id for u in asked.units], [u.attributes for u in asked.units])
    return model_answer(schemas.AssignmentsOut(items=[schemas.AssignmentOut(**one) for one in found]))


@api.post("/experiments/<experiment_id>/exposures")
@described(
    Operation("Say who was shown what; each is taken once.", schemas.TakenOut, Role.ANALYST, body=schemas.ExposuresIn)
)
@needs(Role.ANALYST)
def take_exposures(experiment_id: str) -> Response:
    """Take exposures."""
    events = [Exposure(one.unit_id, one.variant, one.at, one.attributes) for one in body(schemas.ExposuresIn).exposures]

    def work() -> Response:
        taken = the_store().experiment_logs.take_exposures(experiment_id, events)
        return model_answer(schemas.TakenOut(taken=taken, known=len(events) - taken))

    return once(work)


@api.post("/experiments/<experiment_id>/outcomes")
@described(
    Operation("Say what units did; each is taken once.", schemas.TakenOut, Role.ANALYST, body=schemas.OutcomesIn)
)
@needs(Role.ANALYST)
def take_outcomes(experiment_id: str) -> Response:
    """Take outcomes."""
    events = [
        UnitOutcome(one.outcome_id, one.unit_id, one.at, one.measured) for one in body(schemas.OutcomesIn).outcomes
    ]

    def work() -> Response:
        taken = the_store().experiment_logs.take_outcomes(experiment_id, events)
        return model_answer(schemas.TakenOut(taken=taken, known=len(events) - taken))

    return once(work)


@api.get("/experiments/<experiment_id>/analysis")
@described(Operation("Read the looks at an experiment, newest first.", schemas.ReadingsOut, Role.VIEWER, PAGING))
@needs(Role.VIEWER)
def read_analysis(experiment_id: str) -> Response:
    """Read what was measured so far."""
    asked = paging()
    kept = the_store().experiments.readings(experiment_id)[::-1]
    first = (asked["page"] - 1) * asked["size"]
    items = [_reading(one) for one in kept[first : first + asked["size"]]]
    pages = max(1, -(-len(kept) // asked["size"]))
    return model_answer(schemas.ReadingsOut(items=items, total=len(kept), pages=pages, **asked))


@api.post("/experiments/<experiment_id>/analysis")
@described(
    Operation(
        "Look at an experiment now, as its design says; the reading is kept beside the promise.",
        schemas.ReadingOut,
        Role.ANALYST,
        body=schemas.AnalysisIn,
    )
)
@needs(Role.ANALYST)
def analyse_experiment(experiment_id: str) -> Response:
    """Read an experiment from its exposures and outcomes."""
    asked = body(schemas.AnalysisIn)

    def work() -> Response:
        number = experiments.read_now(the_store(), experiment_id, asked.asked(), by=asker().name, now=current_time())
        return model_answer(_reading(the_store().experiments.readings(experiment_id)[number - 1]))

    return once(work)


def _designed(experiment_id: str, asked: schemas.DesignIn, *, why: str) -> StoredExperiment:
    return experiments.design_experiment(
        the_settings(),
        the_store(),
        experiment_id,
        asked.model_dump(),
        asked.history,
        why=why,
        by=asker().name,
        now=current_time(),
    )


def _out(stored: StoredExperiment) -> schemas.ExperimentOut:
    design = stored.design
    scale, sizing = design.get("promise_scale"), design.get("sizing") or {}
    known = {name: getattr(stored, name) for name in schemas.ExperimentOut.model_fields if hasattr(stored, name)}
    return schemas.ExperimentOut(**known, promised_for_tested=None if scale is None else scale * sizing["effect"])


def _reading(kept: StoredReading) -> schemas.ReadingOut:
    """A stored look in its form; looks that a command took of a bare table have less to say."""
    found = kept.reading
    analysis: Mapping[str, Any] = found.get("analysis") or found
    return schemas.ReadingOut(
        number=kept.number,
        version=kept.version,
        read_at=kept.read_at,
        read_by=kept.read_by,
        trustworthy=found.get("trustworthy", True),
        final=found.get("final", True),
        interval=found.get("interval", "fixed"),
        units=found.get("units") or sum(found.get("counts") or ()),
        effects=_only(schemas.EffectOut, found.get("effects")),
        verdicts=[schemas.VerdictOut(action=v["action"], why=_said(v["reasons"])) for v in found.get("verdicts") or ()],
        checks=[
            schemas.CheckOut(name=c["name"], verdict=c["verdict"], says=_say(c["reason"]), p_value=c["p_value"])
            for c in found.get("checks") or ()
        ],
        measured=found.get("measured"),
        promise=dict(found.get("promise") or {}),
        segments=_only(schemas.SegmentOut, found.get("segments")),
        modifications=_only(schemas.ModificationOut, analysis.get("modifications")),
        prior=found.get("prior"),
        left_out=_said([one["reason"] for one in analysis.get("exclusions") or ()]),
        refused=[f"{one['metric']}: {_say(one['reason'])}" for one in analysis.get("refused") or ()],
        notes=_said(found.get("notes") or ()),
    )


def _only(model: type[Any], rows: Sequence[Mapping[str, Any]] | None) -> list[Any]:
    """Rows with the fields of a model, whatever else they hold."""
    return [model(**{name: row.get(name) for name in model.model_fields}) for row in rows or ()]


def _said(reasons: Sequence[object]) -> list[str]:
    return [_say(reason) for reason in reasons]


def _say(reason: object) -> str:
    return say(reason, str)
