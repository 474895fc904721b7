"""Sensitivity: how strong a confounder that nobody recorded would have to be to void the promise.

Observational data cannot rule out that something unseen moves price and demand together. What can be said is how strong
it would have to be. Every everyday elasticity is made wrong by delta, each in the direction that hurts the plan (more
elastic where the price goes up, less where it goes down: an index-neutral plan shrugs off an error that all products
share), and delta is turned up until the gain is gone: the breaking bias. It is then put in units that can be judged
(Cinelli & Hazlett, Journal of the Royal Statistical Society B 2020):

- as a robustness value: with f = |delta| · sd(price) / sd(demand), both net of everything in the model, a confounder
  that explains the share RV = (√(f⁴ + 4 f²) - f²) / 2 of what is left of both price and demand would do it;
- beside observed confounders: how far leaving each out of the model moves the shop's mean elasticity. "Twice as strong
  as the season" says something to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels, split_prices
from engine.demand.controls import CONFOUNDERS
from engine.demand.counts import CountFit
from engine.demand.fitting import fit_panel
from engine.demand.noise import noise_precision, unshrunken
from engine.panel import Panel
from engine.proposal import Reason

Floats = npt.NDArray[np.float64]

LARGEST_BIAS = 4.0
STEP = 0.1
BISECTIONS = 20
NOTICEABLE_SHIFT = 0.05
"""A recorded confounder that moves the mean elasticity by less is no measure of anything."""
SPREAD_VARIANCE = 0.3
"""Spread of products when their shifts are averaged, so that no single product speaks for the shop."""

BREAKS = (
    "the promise would be void if an unrecorded confounder had biased every everyday elasticity by {bias:.2f}, each in "
    "the direction that hurts this plan; it would have to explain {robustness:.0%} of what is left of both price and "
    "demand"
)
BREAKS_BESIDE = (
    "the promise would be void if an unrecorded confounder had biased every everyday elasticity by {bias:.2f}, each in "
    "the direction that hurts this plan: {times:.1f} times what leaving out the strongest recorded one, {strongest}, "
    "does; it would have to explain {robustness:.0%} of what is left of both price and demand"
)
HOLDS = (
    "no bias of the everyday elasticities up to {largest:.0f} makes the plan lose money: its gain does not rest on how "
    "strongly demand answers to price"
)
NO_GAIN = "the plan promises no gain, so there is nothing for a hidden confounder to void"


@dataclass(frozen=True)
class Benchmark:
    """An observed confounder: how far the shop's mean everyday elasticity moves when it is left out."""

    name: str
    shift: float


@dataclass(frozen=True)
class Strength:
    """What a bias of the elasticity amounts to."""

    price_over_demand: float
    """sd of price over sd of log demand, both net of everything in the model: turns a bias into f."""
    benchmarks: tuple[Benchmark, ...]

    @property
    def strongest(self) -> Benchmark | None:
        """The observed confounder that matters most; None where none could be left out."""
        return max(self.benchmarks, key=lambda b: abs(b.shift), default=None)


@dataclass(frozen=True)
class Sensitivity:
    """How much hidden confounding the promise stands."""

    breaking_bias: float | None
    """Smallest bias (elasticity points) at which the gain is gone; None: none in range, or no gain."""
    robustness_value: float | None
    """Share of residual price and demand that the confounder would have to explain, 0…1."""
    times_strongest: float | None
    """|breaking bias| over the largest shift of an observed confounder."""
    benchmarks: tuple[Benchmark, ...]
    curve: tuple[tuple[float, float], ...]
    """(bias, gain in money) over the range, for a figure."""
    reason: Reason


def measure_strength(panel: Panel, fitted: tuple[Channels, CountFit] | None = None) -> Strength:
    """Residual spreads of price and demand, and the shift that each observed confounder makes when left out.

    Args:
        panel: weekly sales and prices.
        fitted: its price channels and counts with nothing left out, where they are known already.
    """
    channels = fitted[0] if fitted else split_prices(panel)
    fit = fitted[1] if fitted else fit_panel(panel, channels)
    whole = _shop_mean(channels, fit)
    names = [name for name in CONFOUNDERS if name in _present(fit)]
    found = [
        Benchmark(name, _shop_mean(channels, fit_panel(panel, channels, without=frozenset({name}))) - whole)
        for name in names
    ]
    return Strength(_price_over_demand(channels, fit), tuple(found))


def _present(fit: CountFit) -> set[str]:
    groups = {"category weeks"} if (fit.design.group >= 0).any() else set()
    return groups | set(fit.design.control_names)


def _shop_mean(channels: Channels, fit: CountFit) -> float:
    """Mean everyday elasticity over products, weighted by what each knows."""
    k = channels.target
    own = noise_precision(fit)[:, k, k]
    weight = np.divide(1.0, SPREAD_VARIANCE + np.divide(1.0, own, out=np.ones_like(own), where=own > 0)) * (own > 0)
    total = float(weight.sum())
    return float((weight * unshrunken(fit)[:, k]).sum() / total) if total > 0 else 0.0


def _price_over_demand(channels: Channels, fit: CountFit) -> float:
    """sd(price) / sd(demand) net of the model, in working weights: the spread of demand includes counting noise."""
    price = float((fit.weight * fit.residual_moves[:, :, channels.target] ** 2).sum())
    safe = np.maximum(fit.weight, 1e-12)
    demand = float((fit.score**2 / safe * (fit.weight > 0)).sum())
    return float(np.sqrt(price / demand)) if demand > 0 else 0.0


def robustness_value(bias: float, price_over_demand: float) -> float:
    """Share of residual price and of residual demand that a confounder must explain to cause this bias.

    Cinelli & Hazlett (2020), eq. for RV_q with q·f = |bias| · sd(price) / sd(demand).
    """
    f = abs(bias) * price_over_demand
    return float(0.5 * (np.sqrt(f**4 + 4 * f**2) - f**2))


def assess_sensitivity(gain: Callable[[float], float], strength: Strength) -> Sensitivity:
    """Turn up the bias of the elasticities until the gain is gone.

    Args:
        gain: expected gain (money) of the plan as it stands when every elasticity is wrong by this much (at least 0),
            each in the direction that hurts.
        strength: of `measure_strength`.
    """
    biases = np.round(np.arange(0.0, LARGEST_BIAS + STEP / 2, STEP), 6)
    gains = np.array([gain(float(bias)) for bias in biases])
    curve = tuple((float(b), float(g)) for b, g in zip(biases, gains, strict=True))
    if gains[0] <= 0:
        return Sensitivity(None, None, None, strength.benchmarks, curve, Reason(NO_GAIN))
    lost = np.flatnonzero(gains <= 0)
    if not len(lost):
        return Sensitivity(None, None, None, strength.benchmarks, curve, Reason(HOLDS, {"largest": LARGEST_BIAS}))
    return _explained(_crossing(gain, float(biases[lost[0] - 1]), float(biases[lost[0]])), strength, curve)


def _crossing(gain: Callable[[float], float], good: float, bad: float) -> float:
    """Bias between `good` and `bad` at which the gain is gone, by bisection."""
    for _ in range(BISECTIONS):
        half = 0.5 * (good + bad)
        good, bad = (half, bad) if gain(half) > 0 else (good, half)
    return bad


def _explained(bias: float, strength: Strength, curve: tuple[tuple[float, float], ...]) -> Sensitivity:
    robustness = robustness_value(bias, strength.price_over_demand)
    strongest = strength.strongest
    times = (
        abs(bias) / abs(strongest.shift) if strongest is not None and abs(strongest.shift) > NOTICEABLE_SHIFT else None
    )
    values = {"bias": bias, "robustness": robustness}
    if times is None or strongest is None:
        reason = Reason(BREAKS, values)
    else:
        reason = Reason(BREAKS_BESIDE, {**values, "times": times, "strongest": strongest.name})
    return Sensitivity(bias, robustness, times, strength.benchmarks, curve, reason)
