"""For machines that look after the server: is it alive, can it work, and how is it doing."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from api.access import the_store
from api.metrics import render_metrics

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> Response:
    """Say that the process answers."""
    return jsonify(status="ok")


@health.get("/readyz")
def readyz() -> Response:
    """Say that the store answers too and has the right schema; 503 with the reason otherwise."""
    the_store().ready()
    return jsonify(status="ready")


@health.get("/metrics")
def metrics() -> Response:
    """Write the metrics in Prometheus' text format; they name no person, product or amount."""
    store = the_store()
    text = render_metrics(current_app.extensions["offerwright_metrics"], store.proposal_counts(), store.jobs.counts())
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")
