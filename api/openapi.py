"""OpenAPI 3.1, written from the routes and the models, so that it cannot say anything else than what is answered."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

from pydantic.json_schema import models_json_schema
from werkzeug.routing import Map, Rule

from api.exchange import OPERATIONS, Operation
from api.schemas import Problem


def describe(routes: Map) -> dict[str, Any]:
    """Describe every route of the JSON API."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(routes.iter_rules(), key=lambda rule: rule.rule):
        operation = OPERATIONS.get(rule.endpoint)
        if operation is not None:
            method = next(iter((rule.methods or set()) & {"GET", "POST"})).lower()
            paths.setdefault(openapi_path(rule.rule), {})[method] = _operation(rule, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Offerwright", "version": importlib.metadata.version("offerwright")},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "offerwright"},
            },
        },
    }


def openapi_path(rule: str) -> str:
    """Write a route's path as OpenAPI does."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def _schemas() -> dict[str, Any]:
    models = {model for op in OPERATIONS.values() for model in (op.answer, op.body) if model} | {Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, document = models_json_schema(
        [(model, "serialization") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    definitions: dict[str, Any] = document["$defs"]
    return definitions


def _operation(rule: Rule, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": operation.summary,
        "parameters": _parameters(rule, operation),
        "responses": _responses(operation),
    }
    if operation.role is None:
        described["security"] = []
    else:
        described["description"] = f"Needs the role {operation.role}."
    if operation.body is not None:
        described["requestBody"] = {"content": {"application/json": {"schema": _reference(operation.body.__name__)}}}
    return described


def _parameters(rule: Rule, operation: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found = [{"name": name, "in": "path", "required": True, "schema": text} for name in sorted(rule.arguments)]
    found += [
        {"name": name, "in": "query", "schema": schema, "description": says} for name, schema, says in operation.query
    ]
    if operation.body is not None:
        says = "The same key gets the same answer for 24 hours, and the write happens once."
        found.append({"name": "Idempotency-Key", "in": "header", "schema": text, "description": says})
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    schema = _reference(operation.answer.__name__) if operation.answer else {"type": "object"}
    problem = {"application/problem+json": {"schema": _reference("Problem")}}
    return {
        "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}},
        "default": {"description": "What went wrong.", "content": problem},
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
