"""The frontier of a proposal in the store: rows out of points, points out of rows, what they are hashed by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any

from sqlalchemy import Row

from engine.files import to_json
from engine.proposal import FrontierLine, FrontierPlan

_NUMBERS = ("reached", "gain", "gain_low", "gain_high", "bound", "gap")


def frontier_rows(number: int, points: Iterable[FrontierPlan]) -> Iterator[dict[str, Any]]:
    """Turn points into rows."""
    for position, point in enumerate(points):
        yield {"proposal_number": number, "position": position, **point_fields(point)}


def read_frontier_point(row: Row[Any]) -> FrontierPlan:
    """Turn a row into a point."""
    return point_of({name: getattr(row, name) for name in ("measure", "level", *_NUMBERS, "lines")})


def hashed_frontier_point(point: FrontierPlan) -> bytes:
    """Write a point the same before it is stored and after it is read, for hashing."""
    return to_json(point_fields(point)).encode()


def point_of(fields: Mapping[str, Any]) -> FrontierPlan:
    """The point that `point_fields` wrote."""
    return FrontierPlan(**{**fields, "lines": tuple(FrontierLine(*line) for line in fields["lines"])})


def point_fields(point: FrontierPlan) -> dict[str, Any]:
    """Every field as JSON takes it; lines without names, in the order of their fields."""
    return {
        "measure": point.measure,
        "level": None if point.level is None else _number(point.level),
        **{name: _number(getattr(point, name)) for name in _NUMBERS},
        "lines": [[line.product_id, *map(_number, astuple(line)[1:])] for line in point.lines],
    }


def _number(value: float) -> float:
    """A zero loses its sign, as SQLite keeps none."""
    return float(value) + 0.0
