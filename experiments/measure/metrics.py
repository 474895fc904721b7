"""Metrics declared as data: what is compared, on which rows, within which time, and which way is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from engine.errors import ProblemError

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in"]
OPERATORS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=", "in")
Missing = Literal["refuse", "exclude", "zero"]
MISSING: tuple[Missing, ...] = ("refuse", "exclude", "zero")


@dataclass(frozen=True)
class Condition:
    """A filter on rows: `column operator value`."""

    column: str
    operator: Operator
    value: float | str | tuple[float | str, ...]
    """A number or text; for `in`, several."""

    def __post_init__(self) -> None:
        """Check the condition.

        Raises:
            ProblemError: the operator is unknown, or the value does not suit it.
        """
        if self.operator not in OPERATORS:
            raise ProblemError(
                f"filter on '{self.column}': operator {self.operator!r} is unknown; use {', '.join(OPERATORS)}"
            )
        if (self.operator == "in") != isinstance(self.value, tuple) or self.value == ():
            raise ProblemError(f"filter on '{self.column}': 'in' needs a list of values, any other operator one value")


@dataclass(frozen=True)
class Winsorise:
    """Values beyond a quantile are drawn in to it, with the same bounds in every variant, found over all of them.

    The bounds come from the quantiles of the pooled values, so that a treatment cannot move its own bound alone.
    """

    low: float | None = None
    """Level of the lower bound, 0…1; None: no bound."""
    high: float | None = 0.999
    ignore_zeros: bool = False
    """Take the quantiles over the values other than zero."""

    def __post_init__(self) -> None:
        """Check the levels.

        Raises:
            ProblemError: a level is outside 0…1, or the lower is not below the upper.
        """
        low, high = -1.0 if self.low is None else self.low, 2.0 if self.high is None else self.high
        if not (low < high and (self.low is None or low >= 0) and (self.high is None or high <= 1)):
            raise ProblemError(f"winsorising levels {self.low} and {self.high}: give low < high, each within 0…1")


@dataclass(frozen=True)
class Window:
    """Hours after a unit's first exposure within which outcomes count: start included, end excluded.

    A unit whose window has not ended yet is left out of the metric, and counted as such.
    """

    start_hours: float = 0.0
    end_hours: float | None = None
    """None: as far as the data go, for every unit alike."""

    def __post_init__(self) -> None:
        """Check the window.

        Raises:
            ProblemError: it ends before it starts.
        """
        if self.end_hours is not None and not self.start_hours < self.end_hours:
            raise ProblemError(f"window of {self.start_hours:g}…{self.end_hours:g} hours: it must end after it starts")


@dataclass(frozen=True)
class Lookback:
    """A covariate taken from the outcome log itself: the same metric over the hours before exposure."""

    hours: float

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            ProblemError: it is not positive.
        """
        if not self.hours > 0:
            raise ProblemError(f"look-back of {self.hours:g} hours: give a positive length")


@dataclass(frozen=True)
class Predicted:
    """A covariate that XGBoost predicts from features known before exposure, cross-fitted (CUPAC: Tang et al. 2020)."""

    features: tuple[str, ...]
    """Columns with numbers; missing values are allowed."""

    def __post_init__(self) -> None:
        """Check the features.

        Raises:
            ProblemError: there is none.
        """
        if not self.features:
            raise ProblemError("a predicted covariate needs one feature at least")


@dataclass(frozen=True)
class Metric:
    """The mean over units of one column; the other kinds build on it.

    In a table of units the column holds each unit's value; in a log of outcomes, a unit's rows are summed, and a unit
    without rows has the sum of none, zero.
    """

    name: str
    column: str
    higher_is_better: bool = True
    covariate: str | Lookback | Predicted | None = None
    """CUPED: a column of the units, the same metric before exposure (logs), or a prediction from features."""
    where: tuple[Condition, ...] = ()
    """In a table of units: which units count. In a log: which outcome rows."""
    window: Window = Window()
    """Logs only."""
    winsorise: Winsorise | None = None
    missing: Missing = "refuse"
    """What a value that is absent, NaN or infinite does: refuse the metric, exclude the unit, or count as zero."""
    margin: float | None = None
    """Makes it a guardrail: the largest harm that is tolerated, as a share of the control's value."""

    kind = "mean"

    def __post_init__(self) -> None:
        """Check what can be checked without data.

        Raises:
            ProblemError: a name is empty, or the margin is not positive, or the word for missing values is unknown.
        """
        if not self.name or not self.column:
            raise ProblemError(f"metric {self.name!r} on column {self.column!r}: give both a name")
        if self.missing not in MISSING:
            raise ProblemError(f"metric '{self.name}': missing {self.missing!r} is unknown; use {', '.join(MISSING)}")
        if self.margin is not None and not 0 < self.margin < 1:
            raise ProblemError(f"metric '{self.name}': margin {self.margin:g}; give a share between 0 and 1, as 0.02")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the outcome that it reads, covariates and filters aside."""
        return (self.column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns of the covariate, in the order of `columns`."""
        return (self.covariate,) if isinstance(self.covariate, str) else ()

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns that a predicted covariate is predicted from."""
        return self.covariate.features if isinstance(self.covariate, Predicted) else ()


@dataclass(frozen=True)
class Proportion(Metric):
    """The share of units whose column is 1; the column holds 0 and 1 only."""

    kind = "proportion"


@dataclass(frozen=True)
class Retention(Metric):
    """The share of units that came back within the window: logs count any row, a table of units holds 0 and 1."""

    kind = "retention"


@dataclass(frozen=True)
class Profit(Metric):
    """Profit per unit net of coupon cost: `column` is the margin before it, `cost` what the coupons cost."""

    cost: str = "coupon_cost"

    kind = "profit"

    @property
    def columns(self) -> tuple[str, ...]:
        """Margin and cost."""
        return (self.column, self.cost)


@dataclass(frozen=True)
class Ratio(Metric):
    """The sum of one column over the sum of another, with a variance by unit (the delta method)."""

    denominator: str = ""
    covariate_denominator: str | None = None
    """With a column as `covariate`: its denominator."""

    kind = "ratio"

    def __post_init__(self) -> None:
        """Check what can be checked without data.

        Raises:
            ProblemError: there is no denominator, or it is winsorised.
        """
        super().__post_init__()
        if not self.denominator:
            raise ProblemError(f"metric '{self.name}' is a ratio: name the column of its denominator")
        if self.winsorise is not None:
            raise ProblemError(f"metric '{self.name}': winsorising has no meaning for a ratio; cap its columns before")

    @property
    def columns(self) -> tuple[str, ...]:
        """Numerator and denominator."""
        return (self.column, self.denominator)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Numerator and denominator of the covariate."""
        if not isinstance(self.covariate, str):
            return ()
        return (self.covariate, self.covariate_denominator) if self.covariate_denominator else (self.covariate,)


@dataclass(frozen=True)
class Quantile(Metric):
    """A quantile over units, or over rows where several rows share a cluster."""

    level: float = 0.5

    kind = "quantile"

    def __post_init__(self) -> None:
        """Check what can be checked without data.

        Raises:
            ProblemError: the level is not within 0…1, or a covariate is asked for.
        """
        super().__post_init__()
        if not 0 < self.level < 1:
            raise ProblemError(f"metric '{self.name}': quantile level {self.level:g} is outside 0…1")
        if self.covariate is not None:
            raise ProblemError(f"metric '{self.name}': a quantile takes no covariate; leave it out")


KINDS: Mapping[str, type[Metric]] = {
    kind.kind: kind for kind in (Metric, Proportion, Retention, Profit, Ratio, Quantile)
}


def metric_from(declared: Mapping[str, Any]) -> Metric:
    """A metric from plain data, as a design keeps it: `kind` (default mean) and the fields of that kind.

    Raises:
        ProblemError: the kind or a field is unknown, or a value is refused.
    """
    given = dict(declared)
    word = given.pop("kind", "mean")
    kind = KINDS.get(word)
    if kind is None:
        raise ProblemError(f"metric kind {word!r} is unknown; use one of {', '.join(KINDS)}")
    unknown = sorted(given.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise ProblemError(f"metric {given.get('name')!r} ({word}): no field {', '.join(unknown)}")
    try:
        values: dict[str, Any] = {name: _field(name, value) for name, value in given.items()}
        return kind(**values)
    except TypeError as error:
        raise ProblemError(f"metric {given.get('name')!r} ({word}): {error}") from error


def _field(name: str, value: object) -> object:
    """A field's value; nested records may be given as plain data."""
    if name == "where" and isinstance(value, Sequence):
        return tuple(_condition(one) if isinstance(one, Mapping) else one for one in value)
    if not isinstance(value, Mapping):
        return value
    if name == "covariate" and "features" in value:
        return Predicted(tuple(value["features"]))
    nested: Mapping[str, type[Any]] = {"winsorise": Winsorise, "window": Window, "covariate": Lookback}
    return nested[name](**value) if name in nested else value


def _condition(declared: Mapping[str, Any]) -> Condition:
    value = declared["value"]
    return Condition(declared["column"], declared["operator"], tuple(value) if isinstance(value, list) else value)
