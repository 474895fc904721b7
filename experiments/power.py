"""How many units, how long, how small an effect: for every analysis plan, from what history says.

The size follows from the drift that a plan needs (`sequential.drift_for_power`): with V the variance of one unit over
its shares of the arms, N = (drift / effect)² V. Where units are few and read once, Student's t takes the place of the
normal distribution (Cohen 1988, chapter 2).

Units that are all there from the first day and watched on (products, stores, cells of customers) have functions of
their own: their number does not grow from look to look, but what is known of each does (`experiments.few_units`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from engine.errors import ProblemError
from engine.proposal import N_, Reason
from experiments.few_units import FewLooks, require_enough
from experiments.history import Outcome
from experiments.sequential import AnalysisPlan, drift_for_power
from experiments.sequential import power as plan_power

_MANY = 2000
"""From so many degrees of freedom on Student's t is the normal distribution."""
_LARGEST = 10**12


@dataclass(frozen=True)
class Sizing:
    """What an experiment of a given size can see."""

    units: int
    """Units of all variants together."""
    weeks: int | None
    """Weeks until they are there; None where history never brings so many."""
    effect: float
    """Absolute effect for each unit that was planned for."""
    power: float
    """Probability of seeing it."""
    detectable: float
    """Smallest absolute effect that is seen with the wanted power."""


def required_units(
    outcome: Outcome,
    effect: float,
    plan: AnalysisPlan,
    *,
    power: float = 0.8,
    weights: Sequence[float] = (0.5, 0.5),
) -> int:
    """Units of all variants together that show `effect` with probability `power`.

    Args:
        outcome: the metric, from history.
        effect: absolute difference for each unit, not 0; of a proportion or ratio in its own unit.
        plan: how the experiment will be read; its `planned_units` plays no part.
        power: wanted probability.
        weights: share of each variant, control first; the smallest treatment decides. Several treatments share alpha
            (Bonferroni).

    Raises:
        ProblemError: the effect is 0 or takes a proportion out of 0…1, the power is not between alpha and 1.
    """
    _check_effect(outcome, effect)
    shared = _shared(plan, weights)
    rough = (drift_for_power(shared, power) / effect) ** 2 * _unit_variance(outcome, effect, weights)
    if rough > _LARGEST:
        raise ProblemError(
            Reason(
                "effect {effect:g} of '{name}' needs {rough:.1g} units; plan for a larger one",
                {"effect": effect, "name": outcome.name, "rough": rough},
            )
        )
    least = max(2 * len(weights), math.ceil(rough - 1e-9))
    if plan.method != "fixed" or _freedom(outcome, least, weights) > _MANY:
        return least
    step = max(1, int(outcome.cluster_size))
    while power_at(outcome, effect, least, plan, weights=weights) < power:
        least += step
    return least


def power_at(
    outcome: Outcome, effect: float, units: int, plan: AnalysisPlan, *, weights: Sequence[float] = (0.5, 0.5)
) -> float:
    """Probability that `units` (of all variants together) show `effect`; arguments as in `required_units`.

    Raises:
        ProblemError: fewer units than two for each variant, or an effect that cannot be.
    """
    _check_effect(outcome, effect)
    if units < 2 * len(weights):
        raise ProblemError(
            Reason(
                "{units} units for {variants} variants; each needs 2 or more",
                {"units": units, "variants": len(weights)},
            )
        )
    shared = _shared(plan, weights)
    drift = abs(effect) / math.sqrt(_unit_variance(outcome, effect, weights) / units)
    freedom = _freedom(outcome, units, weights)
    if plan.method != "fixed" or freedom > _MANY:
        return plan_power(shared, drift)
    if freedom < 1:
        return shared.alpha
    return power_of_t(drift, freedom, shared.alpha)


def _freedom(outcome: Outcome, units: int, weights: Sequence[float]) -> float:
    """Degrees of freedom of a comparison with the smallest treatment: clusters, less two."""
    return units * (weights[0] + min(weights[1:])) / outcome.cluster_size - 2


def power_of_t(drift: float, freedom: float, alpha: float = 0.05) -> float:
    """Probability that a two-sided t-test rejects, where its statistic is expected at `drift` (non-central t)."""
    critical = float(stats.t.ppf(1 - alpha / 2, freedom))
    above, below = stats.nct.sf(critical, freedom, abs(drift)), stats.nct.cdf(-critical, freedom, abs(drift))
    # SciPy knows no value where the far tail underflows: the near one is certain then.
    return float(np.nan_to_num(above, nan=1.0) + np.nan_to_num(below, nan=0.0))


def drift_of_t(power: float, freedom: float, alpha: float = 0.05) -> float:
    """Expected t-statistic that a two-sided test rejects with probability `power`.

    Raises:
        ProblemError: the power is not between alpha and 1.
    """
    if not alpha < power < 1.0:
        raise ProblemError(
            Reason("power {power:g} is outside {alpha:g} (alpha) … 1; 0.8 is usual", {"power": power, "alpha": alpha})
        )
    most = 10.0 * float(stats.t.ppf(1 - alpha / 2, freedom))
    return float(optimize.brentq(lambda drift: power_of_t(drift, freedom, alpha) - power, 0.0, most, xtol=1e-10))


def detectable_effect(
    outcome: Outcome,
    units: int,
    plan: AnalysisPlan,
    *,
    power: float = 0.8,
    weights: Sequence[float] = (0.5, 0.5),
) -> float:
    """Smallest positive effect that `units` show with probability `power` (the minimum detectable effect).

    Raises:
        ProblemError: as in `required_units`; or a proportion has no room for any effect that these units would show.
    """
    if not plan.alpha < power < 1.0:
        raise ProblemError(
            Reason(
                "power {power:g} is outside {alpha:g} (alpha) … 1; 0.8 is usual", {"power": power, "alpha": plan.alpha}
            )
        )
    rough = math.sqrt(_unit_variance(outcome, 0.0, weights) / units)
    most = (1 - outcome.mean) * (1 - 1e-9) if outcome.kind == "proportion" else 60.0 * rough

    def lacking(effect: float) -> float:
        return power_at(outcome, effect, units, plan, weights=weights) - power

    if lacking(most) < 0:
        raise ProblemError(
            Reason(
                "{units} units show no effect of '{name}' with power {power:g}; take more units",
                {"units": units, "name": outcome.name, "power": power},
            )
        )
    return float(optimize.brentq(lacking, 1e-6 * rough, most, xtol=1e-10 * rough, rtol=1e-10))


def power_watched(
    outcome: Outcome, effect: float, units: int, plan: AnalysisPlan, *, weights: Sequence[float] = (0.5, 0.5)
) -> float:
    """Probability that `units`, all there from the first day and read at the plan's looks, show `effect`.

    Args:
        outcome: the metric over the whole length of the test, from history.
        effect: absolute difference for each unit, over the same length.
        units: of all variants together.
        plan: how they will be read; the looks are equally spaced in time.
        weights: share of each variant, control first. Several treatments share alpha (Bonferroni).

    Raises:
        ProblemError: as in `power_at`, or so few units that no boundary of several looks holds.
    """
    reached = power_at(outcome, effect, units, replace(plan, method="fixed"), weights=weights)
    if plan.method == "fixed":
        return reached
    drift = abs(effect) / math.sqrt(_unit_variance(outcome, effect, weights) / units)
    return _watched_looks(outcome, units, plan, weights).power(drift)


def detectable_watched(
    outcome: Outcome,
    units: int,
    plan: AnalysisPlan,
    *,
    power: float = 0.8,
    weights: Sequence[float] = (0.5, 0.5),
) -> float:
    """Smallest positive effect that `units`, read as in `power_watched`, show with probability `power`.

    Raises:
        ProblemError: as in `power_watched` and `detectable_effect`.
    """
    if plan.method == "fixed":
        return detectable_effect(outcome, units, plan, power=power, weights=weights)
    drift = _watched_looks(outcome, units, plan, weights).drift_for(power)
    rough = drift * math.sqrt(_unit_variance(outcome, 0.0, weights) / units)
    most = (1 - outcome.mean) * (1 - 1e-9) if outcome.kind == "proportion" else 2.0 * rough

    def lacking(effect: float) -> float:
        return effect - drift * math.sqrt(_unit_variance(outcome, effect, weights) / units)

    if lacking(most) < 0:
        raise ProblemError(
            Reason(
                "{units} units show no effect of '{name}' with power {power:g}; take more units",
                {"units": units, "name": outcome.name, "power": power},
            )
        )
    return float(optimize.brentq(lacking, 0.0, most, xtol=1e-10 * rough))


def required_watched(
    outcome: Outcome,
    effect: float,
    plan: AnalysisPlan,
    *,
    power: float = 0.8,
    weights: Sequence[float] = (0.5, 0.5),
) -> int:
    """Units, all there from the first day and read at the plan's looks, that show `effect` with probability `power`.

    Clusters count as a whole. Arguments as in `power_watched`.

    Raises:
        ProblemError: as in `required_units`.
    """
    if plan.method == "fixed":
        return required_units(outcome, effect, plan, power=power, weights=weights)
    step = max(1, math.ceil(outcome.cluster_size))
    fewest = math.ceil(6 / min(weights[0] + share for share in weights[1:]) * outcome.cluster_size)
    many = required_units(outcome, effect, replace(plan, planned_units=1), power=power, weights=weights)
    low, high = fewest - step, max(fewest, many)
    while power_watched(outcome, effect, high, plan, weights=weights) < power - 1e-9:
        low, high = high, 2 * high
    while high - low > step:
        middle = low + step * max(1, (high - low) // (2 * step))
        if power_watched(outcome, effect, middle, plan, weights=weights) < power - 1e-9:
            low = middle
        else:
            high = middle
    return high


def duration_watched(
    outcome: Outcome, effect: float, units: int, plan: AnalysisPlan, *, weights: Sequence[float] = (0.5, 0.5)
) -> float:
    """Mean share of the planned time after which a look shows `effect`, or the plan ends; as in `power_watched`.

    Raises:
        ProblemError: as in `power_watched`.
    """
    if plan.method == "fixed":
        return 1.0
    drift = abs(effect) / math.sqrt(_unit_variance(outcome, effect, weights) / units)
    return _watched_looks(outcome, units, plan, weights).duration(drift)


def _watched_looks(outcome: Outcome, units: int, plan: AnalysisPlan, weights: Sequence[float]) -> FewLooks:
    """The planned looks at units whose number stays."""
    freedom = _freedom(outcome, units, weights)
    what = N_("units") if outcome.cluster_size == 1.0 else N_("clusters")
    require_enough(plan, freedom, units=round(units / outcome.cluster_size), what=what)
    shared = _shared(plan, weights)
    return _equally_spaced(shared, freedom)


@lru_cache(maxsize=64)
def _equally_spaced(plan: AnalysisPlan, freedom: float) -> FewLooks:
    return FewLooks(plan, tuple(plan.planned_fractions.tolist()), (freedom,) * plan.looks)


def weeks_until(units: int, arrived: npt.ArrayLike, *, coverage: float = 1.0) -> int | None:
    """Whole weeks until so many units have arrived.

    Args:
        units: wanted.
        arrived: (weeks,) distinct units seen by the end of each week of a test, from history, never falling.
        coverage: share of them that takes part.

    Returns:
        The week, from 1; None where history never brings so many.
    """
    seen = np.asarray(arrived, dtype=np.float64) * coverage
    enough = np.flatnonzero(seen >= units)
    return int(enough[0]) + 1 if enough.size else None


def arrivals(first_week: npt.ArrayLike, weeks: int) -> npt.NDArray[np.int64]:
    """Distinct units by the end of each week, (weeks,): what `weeks_until` takes.

    Args:
        first_week: (n,) the week, from 0, in which each unit of a past period was first seen.
        weeks: length of the period.
    """
    return np.cumsum(np.bincount(np.asarray(first_week, dtype=np.int64), minlength=weeks)[:weeks])


def size_of(
    outcome: Outcome,
    effect: float,
    plan: AnalysisPlan,
    arrived: npt.ArrayLike,
    *,
    power: float = 0.8,
    weights: Sequence[float] = (0.5, 0.5),
    coverage: float = 1.0,
) -> Sizing:
    """Size an experiment whose units arrive week by week: units, weeks, power and the smallest effect it can see.

    The longest period that history knows is taken where the effect needs more; `weeks` is None then, and `power` says
    what can be had.

    Raises:
        ProblemError: as in `required_units`.
    """
    needed = required_units(outcome, effect, plan, power=power, weights=weights)
    weeks = weeks_until(needed, arrived, coverage=coverage)
    seen = np.asarray(arrived, dtype=np.float64) * coverage
    units = needed if weeks is not None else int(seen[-1])
    reached = power_at(outcome, effect, units, plan, weights=weights)
    smallest = detectable_effect(outcome, units, plan, power=power, weights=weights)
    return Sizing(units, weeks, effect, reached, smallest)


def _shared(plan: AnalysisPlan, weights: Sequence[float]) -> AnalysisPlan:
    """Plan of one comparison among several treatments; sizes are counted in fractions of its own planned end."""
    if len(weights) < 2 or min(weights) <= 0 or abs(sum(weights) - 1.0) > 1e-9:
        raise ProblemError(
            Reason("weights {weights}: give two or more positive shares that add up to 1", {"weights": list(weights)})
        )
    units = plan.planned_units if plan.method != "group_sequential" else 1_000_000
    tuned = plan.tuning_units if units is not None else None
    return replace(plan, alpha=plan.alpha / (len(weights) - 1), planned_units=units, tuning_units=tuned)


def _unit_variance(outcome: Outcome, effect: float, weights: Sequence[float]) -> float:
    """Variance of the estimate times the units of all variants together."""
    treated = outcome.residual_variance
    if outcome.kind == "proportion":
        share = outcome.mean + effect
        treated *= share * (1 - share) / outcome.variance
    return outcome.residual_variance / weights[0] + treated / min(weights[1:])


def _check_effect(outcome: Outcome, effect: float) -> None:
    if effect == 0.0 or not math.isfinite(effect):
        raise ProblemError(
            Reason(
                "effect {effect:g} of '{name}': give the smallest difference that matters",
                {"effect": effect, "name": outcome.name},
            )
        )
    if outcome.kind == "proportion" and not 0.0 <= outcome.mean + effect <= 1.0:
        raise ProblemError(
            Reason(
                "effect {effect:g} takes the share '{name}' from {mean:g} out of 0…1",
                {"effect": effect, "name": outcome.name, "mean": outcome.mean},
            )
        )
