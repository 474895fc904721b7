"""A launch in a few stores or regions, read against those without it: from a table to the effect, and its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import TYPE_CHECKING

from api import charts
from engine.errors import DataError
from engine.proposal import N_, Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from experiments.synthetic_control import SyntheticControl

Words = Callable[[str], str]
_STRANGE = "{unit} {name} was launched and has no row; there are {known}"
_NO_START = "no {period} from {start} on; the table ends at {last}"
_NO_MOMENT = "start {start}: column {period} holds another kind of period; write {kind}"
_GAP = "{unit} {name} has no {metric} in {period} {moment}; give one finite number for each"
_TWICE = "{unit} {name} has two rows in {period} {moment}; add them up first"
_POOR_FIT = N_(
    "Before the launch the mix missed by {fit:.4g} a period, the effect is {estimate:+.4g}: regions that are so hard "
    "to match say little."
)


@dataclass(frozen=True)
class LaunchTable:
    """A metric by region and period."""

    regions: tuple[str, ...]
    periods: tuple[str, ...]
    values: npt.NDArray[np.float64]
    """(regions, periods)"""
    launched: tuple[int, ...]
    """Rows of the regions with the launch."""
    start: int
    """First period with the launch."""


@dataclass(frozen=True)
class LaunchReading:
    """The effect of a launch, for each region and period, with the names."""

    launched: tuple[str, ...]
    periods: tuple[str, ...]
    start: str
    control: SyntheticControl
    total: float
    """Estimate over all launched regions and periods since the launch, in the metric's unit."""
    mix: Mapping[str, Mapping[str, float]]
    """Weights of the other regions in the mix of each launched one; those below a thousandth are left out."""
    notes: tuple[Reason, ...]


def launch_table(
    table: pd.DataFrame, *, unit: str, period: str, metric: str, launched: Sequence[str], start: str
) -> LaunchTable:
    """Bring rows of region, period and metric into the form that a synthetic control reads.

    Args:
        table: one row for each region and period.
        unit: column of the region.
        period: column of the period: dates (ISO 8601) or whole numbers.
        metric: column of the metric.
        launched: regions with the launch.
        start: first period with it.

    Raises:
        DataError: a region or period is unknown, stands twice, or has a gap.
    """
    import numpy as np
    import pandas as pd

    numbers = pd.api.types.is_numeric_dtype(table[period])
    rows = table.assign(**{unit: table[unit].astype(str), period: table[period] if numbers else _dates(table[period])})
    twice = rows.duplicated([unit, period])
    if twice.any():
        raise DataError(Reason(_TWICE, _place(rows[twice].iloc[0], unit, period)))
    wide = rows.pivot_table(index=unit, columns=period, values=metric, dropna=False)
    values = wide.to_numpy(dtype=float)
    gaps = np.argwhere(~np.isfinite(values))
    if len(gaps):
        row, column = gaps[0]
        told = {"unit": unit, "name": wide.index[row], "metric": metric, "period": period}
        raise DataError(Reason(_GAP, told | {"moment": str(wide.columns[column])}))
    names = [str(name) for name in wide.index]
    for name in launched:
        if name not in names:
            raise DataError(Reason(_STRANGE, {"unit": unit, "name": name, "known": ", ".join(names[:20])}))
    later = np.flatnonzero(wide.columns.to_numpy() >= _moment(start, period, numbers=numbers)).tolist()
    if not later:
        raise DataError(Reason(_NO_START, {"period": period, "start": start, "last": str(wide.columns[-1])}))
    moments = tuple(f"{moment:g}" if numbers else str(moment) for moment in wide.columns)
    return LaunchTable(tuple(names), moments, values, tuple(names.index(name) for name in launched), later[0])


def _moment(start: str, period: str, *, numbers: bool) -> float | str:
    try:
        return float(start) if numbers else str(date.fromisoformat(start))
    except ValueError as error:
        kind = N_("a whole number") if numbers else N_("a date such as 2026-03-02")
        raise DataError(Reason(_NO_MOMENT, {"start": start, "period": period, "kind": Reason(kind)})) from error


def _dates(column: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(column, format="ISO8601").dt.strftime("%Y-%m-%d")


def _place(row: pd.Series, unit: str, period: str) -> dict[str, str]:
    return {"unit": unit, "name": str(row[unit]), "period": period, "moment": str(row[period])}


def read_launch(table: LaunchTable, *, alpha: float) -> LaunchReading:
    """Read a launch against a synthetic control.

    Raises:
        ProblemError: what `read_synthetic_control` refuses.
    """
    from experiments.randomise import seeded
    from experiments.synthetic_control import read_synthetic_control

    rng = seeded(f"launch:{','.join(table.regions[row] for row in table.launched)}")
    found = read_synthetic_control(table.values, table.launched, table.start, rng=rng, alpha=alpha)
    rows = sorted(set(table.launched))
    donors = [name for row, name in enumerate(table.regions) if row not in rows]
    mix = {
        table.regions[row]: {donor: float(w) for donor, w in zip(donors, weights, strict=True) if w >= 0.001}
        for row, weights in zip(rows, found.weights, strict=True)
    }
    poor = abs(found.estimate) < found.fit
    return LaunchReading(
        launched=tuple(table.regions[row] for row in rows),
        periods=table.periods,
        start=table.periods[table.start],
        control=found,
        total=found.estimate * len(rows) * (len(table.periods) - table.start),
        mix=mix,
        notes=(Reason(_POOR_FIT, {"fit": found.fit, "estimate": found.estimate}),) if poor else (),
    )


def render_launch(reading: LaunchReading, metric: str, words: Words, language: str, style: str) -> str:
    """A page with the gap between the launched regions and their mix over time."""
    path = [float(one) for one in reading.control.path]
    places = [float(place) for place in range(len(path))]
    begin = float(reading.periods.index(reading.start))
    drawn = charts.line_chart(
        [
            charts.Line([0.0, places[-1]], [0.0, 0.0], "", "mute", dash=charts.DASHES[0]),
            charts.Line(places, path, metric),
        ],
        words("Launched regions less the mix of the others"),
        marks=[charts.Mark(begin, words("launch"))],
        x_name=f"{reading.periods[0]} … {reading.periods[-1]}",
        y_name=metric,
        points=True,
    )
    title = escape(", ".join(reading.launched))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{style}</style>'
    return f'<!doctype html><html lang="{language}"><head>{head}</head><body><h1>{title}</h1>{drawn}</body></html>\n'
