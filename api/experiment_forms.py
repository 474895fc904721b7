"""The forms of experiments: what a page may ask of the test of a proposal, and what a stored design says there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from api.experiment_options import DEFAULTS
from api.experiment_schemas import ExperimentIn
from engine.errors import InputError
from engine.proposal import N_, Reason
from engine.store import StoredExperiment

FIELDS = ("experiment_id", "part", "randomise", "weeks", "method", "looks", "power", "alpha", "held_back")
UNITS_GUARDRAIL = "guardrail_units"
"""Field of the share by which units sold may fall."""
FIELD_REFUSED = "{field} {value!r} is refused: {why}"
_WHY: Mapping[str, str] = {
    "greater_than": N_("give more than {gt:g}"),
    "greater_than_equal": N_("give {ge:g} or more"),
    "less_than": N_("give less than {lt:g}"),
    "less_than_equal": N_("give {le:g} or less"),
    "float_parsing": N_("give a number"),
    "int_parsing": N_("give a whole number"),
    "literal_error": N_("give one of {expected}"),
    "string_too_short": N_("it may not be empty"),
    "string_too_long": N_("at most {max_length} characters are taken"),
    "string_pattern_mismatch": N_("only letters, digits, point, dash and underscore are taken"),
}
"""Why a field is refused, by the name of the fault."""


def read_form(form: Mapping[str, str], proposal_id: str) -> ExperimentIn:
    """Read what was asked for; a field that was left empty takes its default.

    Raises:
        InputError: a field holds what the design does not take; the first one is named.
    """
    filled: dict[str, Any] = {name: text for name in FIELDS if (text := form.get(name, "").strip())}
    if margin := form.get(UNITS_GUARDRAIL, "").strip():
        filled["guardrails"] = {"units": margin}
    try:
        return ExperimentIn.model_validate({"experiment_id": "", "proposal_id": proposal_id, **filled})
    except ValidationError as error:
        fault = error.errors()[0]
        field = str(fault["loc"][0])
        given = filled.get(field, "")
        shown = next(iter(given.values())) if isinstance(given, dict) else given
        why = _WHY.get(fault["type"], "")
        told = Reason(why, dict(fault.get("ctx") or {})) if why else fault["msg"]
        raise InputError(Reason(FIELD_REFUSED, {"field": field, "value": shown, "why": told})) from error


def form_values(one: StoredExperiment | None) -> dict[str, Any]:
    """What the form shows: the defaults, or what the stored test of a proposal says."""
    if one is None:
        return {**DEFAULTS, "randomise": "product", "margin": None}
    design = one.design
    guardrails = {guardrail["metric"]: guardrail["margin"] for guardrail in design["rule"]["guardrails"]}
    weights = design["split"]["weights"]
    weeks = design["switchback"]["steps"] if design.get("switchback") else design["sizing"]["weeks"]
    return {
        **DEFAULTS,
        "part": "prices" if design["treatment"] == "price" else "coupons",
        "randomise": design["unit"],
        "weeks": weeks,
        "power": design.get("wanted_power", DEFAULTS["power"]),
        "method": design["plan"]["method"],
        "looks": DEFAULTS["looks"] if design["plan"]["method"] == "fixed" else design["plan"]["looks"],
        "alpha": design["plan"]["alpha"],
        "held_back": weights[0],
        "margin": guardrails.get("units"),
    }


def is_changeable(one: StoredExperiment) -> bool:
    """Whether the page can design it anew: it tests a proposal, whose data are at hand."""
    return one.proposal_id is not None and bool(one.design.get("sizing")) and one.ended_at is None
