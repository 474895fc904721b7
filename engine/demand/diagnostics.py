"""Diagnostics: what a response must survive before prices are moved on it.

- placebo, other products: price paths of unrelated products must have no effect (95 % intervals cover zero 95 times in
  a hundred); tests the standard errors.
- placebo, future prices: the price three weeks on must have no effect on this week's sales; a failure means that the
  shop sets prices by demand that it sees and the data do not show (a confounder).
- split half: responses estimated on two independent halves of the customers agree.
- moves: in weeks whose price lay 6-12 % off its own centre, the response of one half predicts the sales of the other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.channels import EXPERIMENT, PROMOTION, REGULAR, Channels, split_prices, with_random_moves
from engine.demand.checks import Check, covered, judged
from engine.demand.counts import CountFit
from engine.demand.fitting import fit_panel
from engine.demand.placebo import borrowed_paths, calibration, draw_scores, placebo_scores
from engine.panel import Panel
from engine.proposal import N_

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

COVERAGE = (0.93, 0.97)
"""Wider where so few placebos can be had that intervals which are right would miss it one time in ten."""
SPLIT_HALF = (0.5, 1.0)
MOVES = (0.93, 1.07)
MOVE_SIZE = (0.06, 0.12)
LEAD_WEEKS = 3
"""Future prices start this many weeks ahead: a dip before an announced promotion is not a confounder."""
LEAST_SCORES = 100
LEAST_PRODUCTS = 20
LEAST_CELLS = 100
OTHER_PRODUCTS = N_("placebo, prices of unrelated products")
FUTURE_PRICES = N_("placebo, future prices")
AGREEMENT = N_("split-half correlation of elasticities")

MOVE_CHECKS = {
    (PROMOTION, "down"): N_("predicted over actual, promotion price down 6-12 %"),
    (PROMOTION, "up"): N_("predicted over actual, promotion price up 6-12 %"),
    (REGULAR, "down"): N_("predicted over actual, regular price down 6-12 %"),
    (REGULAR, "up"): N_("predicted over actual, regular price up 6-12 %"),
    (EXPERIMENT, "down"): N_("predicted over actual, experiment price down 6-12 %"),
    (EXPERIMENT, "up"): N_("predicted over actual, experiment price up 6-12 %"),
}


def coverage_checks(panel: Panel, channels: Channels, fit: CountFit, rng: np.random.Generator) -> tuple[Check, ...]:
    """Placebo coverage by unrelated products and by future prices, with calibrated standard errors."""
    scale = np.sqrt(calibration(draw_scores(panel, channels, fit, rng)))
    group = fit.design.group
    rounds = int(np.clip(1000 // max(panel.n_products, 1), 1, 20))
    strangers = [placebo_scores(fit, borrowed_paths(panel, channels, group, rng)).z for _ in range(rounds)]
    ahead = placebo_scores(fit, future_paths(channels)).z
    return (
        _coverage(OTHER_PRODUCTS, np.stack(strangers) / scale),
        _coverage(FUTURE_PRICES, ahead / scale),
    )


def future_paths(channels: Channels, weeks: int = LEAD_WEEKS) -> Floats:
    """(S, T, K) price moves of `weeks` weeks later; the last weeks repeat the last."""
    out = np.empty_like(channels.values)
    ahead = min(weeks, out.shape[1] - 1)
    out[:, : out.shape[1] - ahead] = channels.values[:, ahead:]
    out[:, out.shape[1] - ahead :] = channels.values[:, -1:]
    return out


def _coverage(name: str, z: Floats) -> Check:
    scores = z[np.isfinite(z)]
    inside = float((np.abs(scores) < 1.96).mean()) if scores.size else float("nan")
    chance = 1.645 * np.sqrt(0.95 * 0.05 / max(scores.size, 1))
    low, high = min(COVERAGE[0], round(0.95 - chance, 3)), max(COVERAGE[1], round(0.95 + chance, 3))
    return covered(name, inside, low, high, scores.size, LEAST_SCORES)


def agreement(a: Floats, b: Floats, known: Bools) -> Check:
    """Correlation over products of the elasticities from two halves."""
    count = int(known.sum())
    usable = count > 2 and a[known].std() > 1e-9 and b[known].std() > 1e-9
    value = float(np.corrcoef(a[known], b[known])[0, 1]) if usable else float("nan")
    return judged(AGREEMENT, value, *SPLIT_HALF, count, LEAST_PRODUCTS)


def move_checks(panel: Panel, names: tuple[str, ...], coefficient: Floats) -> tuple[Check, ...]:
    """Predicted over actual units in weeks with moves of 6 to 12 %, by channel and direction.

    Args:
        panel: the half that judges; its level, season and other controls are its own.
        names: (K,) channels of the coefficients; where random moves are none of them, they count as everyday ones.
        coefficient: (P, K) channel elasticities from elsewhere.
    """
    channels = split_prices(panel)
    if EXPERIMENT not in names:
        channels = with_random_moves(channels)
    fit = fit_panel(panel, channels, fixed=coefficient[:, [names.index(name) for name in channels.names]])
    checks = []
    for k, name in enumerate(channels.names):
        values = channels.values[:, :, k]
        centre = np.zeros((len(values), 1)) if name == PROMOTION else _median(values, channels.usable)
        moved = values - centre
        for word, sign in (("down", -1.0), ("up", 1.0)):
            size = sign * moved
            inside = channels.usable & (size >= np.log1p(MOVE_SIZE[0])) & (size <= np.log1p(MOVE_SIZE[1]))
            if inside.any():
                checks.append(_ratio(MOVE_CHECKS[name, word], panel, fit, inside))
    return tuple(checks)


def _ratio(name: str, panel: Panel, fit: CountFit, inside: Bools) -> Check:
    predicted, actual = float(fit.expected[inside].sum()), float(panel.units[inside].sum())
    return judged(name, predicted / actual if actual > 0 else float("nan"), *MOVES, int(inside.sum()), LEAST_CELLS)


def _median(values: Floats, usable: Bools) -> Floats:
    out = np.zeros((len(values), 1))
    for row in np.flatnonzero(usable.any(axis=1)):
        out[row] = np.median(values[row, usable[row]])
    return out
