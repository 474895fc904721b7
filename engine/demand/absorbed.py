"""Counts regressed with row and column effects absorbed, and errors that are fit for few weeks and many effects.

Poisson pseudo-maximum likelihood (Santos Silva and Tenreyro, "The Log of Gravity", Review of Economics and Statistics,
2006), effects projected out in every step (Correia, Guimarães and Zylkin, "Fast Poisson estimation with
high-dimensional fixed effects", Stata Journal, 2020). A second pass weighs cells as a negative binomial of the
dispersion that the first left over: with Poisson weights the few weeks of big promotions would speak for all.

Where a category has eight series, its week effects take up an eighth of what happens in each cell, and residuals that
are squared as they stand make every error a fifth too small. Residuals are therefore divided by one minus their
leverage, that of the effects included (HC3: MacKinnon and White, Journal of Econometrics, 1985; for many effects see
Cattaneo, Jansson and Newey, Journal of the American Statistical Association, 2018). Scores are summed over the series
of a week and given Bartlett weights over neighbouring weeks, so that shocks which series share, or which last, count
(Driscoll and Kraay, Review of Economics and Statistics, 1998); no error is below the cell-wise one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_STEPS = 60
LAGS = 4
LARGEST_LEVERAGE = 0.9
DISPERSION = (1e-3, 5.0)


@dataclass(frozen=True)
class AbsorbedFit:
    """A regression of S × T counts on K regressors with absorbed effects."""

    coefficient: Floats
    """(K,) NaN for a regressor without variation of its own."""
    covariance: Floats
    """(K, K) of the coefficients' errors; zero rows where there is no variation of its own."""
    kept: Bools
    """(K,) False: no variation of its own."""
    column_effect: Floats
    """(T,) log effect of each week, up to a constant; 0 in weeks without a cell."""
    mean: Floats
    """(S, T) fitted counts; 0 in cells that do not count."""

    @property
    def se(self) -> Floats:
        """(K,) standard errors; inf where there is no variation of its own."""
        return np.where(self.kept, np.sqrt(np.maximum(np.diag(self.covariance), 0.0)), np.inf)


def fit_absorbed(units: Floats, design: Floats, usable: Bools) -> AbsorbedFit | None:
    """Fit counts by their regressors beside a constant for every row and every column, dispersion and all.

    Args:
        units: (S, T) counts, not negative.
        design: (S, T, K) regressors.
        usable: (S, T) cells that count.

    Returns:
        the fit; None where there are too few cells or it does not converge.
    """
    first = absorbed_at(units, design, usable, 0.0)
    if first is None:
        return None
    excess = float(((units - first.mean)[usable] ** 2 - first.mean[usable]).sum())
    dispersion = float(np.clip(excess / float((first.mean[usable] ** 2).sum()), *DISPERSION))
    return absorbed_at(units, design, usable, dispersion, start=first.mean) or first


def absorbed_at(
    units: Floats, design: Floats, usable: Bools, dispersion: float, *, start: Floats | None = None
) -> AbsorbedFit | None:
    """`fit_absorbed` at a given dispersion: variance = mean + dispersion · mean²; 0 is Poisson; `start`: the mean's."""
    cells = int(usable.sum())
    effects = int(usable.any(axis=1).sum() + usable.any(axis=0).sum())
    if cells <= effects + design.shape[2]:
        return None
    mask = usable.astype(np.float64)
    mean = mask * (units + units.sum() / cells) / 2 if start is None else start
    eta = np.log(np.where(usable, mean, 1.0))
    last = np.inf
    for _ in range(MAX_STEPS):
        weight = mean / (1.0 + dispersion * mean)
        step = _weighted_step(units, design, mean, eta, weight)
        eta = np.clip(step.eta, -30.0, 30.0)
        mean = mask * np.exp(eta)
        deviance = _deviance(units, mean, usable, dispersion)
        if abs(last - deviance) <= 1e-9 * (1.0 + abs(deviance)):
            effect = _column_effect(eta - design @ np.where(step.kept, step.coefficient, 0.0), mask)
            return AbsorbedFit(
                step.coefficient,
                _covariance(step, (units - mean) / (1.0 + dispersion * mean), weight),
                step.kept,
                effect,
                mean,
            )
        last = deviance
    return None


def long_run(weekly: Floats, lags: int = LAGS) -> Floats:
    """(K, K) covariance of the sum of (T, K) weekly scores, Bartlett weights (Newey and West, Econometrica, 1987)."""
    total = weekly.T @ weekly
    for lag in range(1, min(lags, len(weekly) - 1) + 1):
        cross = weekly[lag:].T @ weekly[:-lag]
        total = total + (1 - lag / (lags + 1)) * (cross + cross.T)
    return np.asarray(total)


@dataclass(frozen=True)
class _Step:
    coefficient: Floats
    eta: Floats
    inner: Floats
    """(S, T, K) regressors with the effects projected out."""
    inverse: Floats
    """(K, K) inverse of inner' W inner; zero rows where a regressor has no variation of its own."""
    kept: Bools


def _weighted_step(units: Floats, design: Floats, mean: Floats, eta: Floats, weight: Floats) -> _Step:
    """One step of iteratively reweighted least squares with the effects projected out."""
    working = eta + np.divide(units - mean, mean, out=np.zeros_like(mean), where=mean > 0)
    both = _project_out(np.concatenate([design, working[:, :, None]], axis=2), weight)
    inner, left = both[:, :, :-1], both[:, :, -1]
    flat, weighted = inner.reshape(-1, inner.shape[2]), (inner * weight[:, :, None]).reshape(-1, inner.shape[2])
    gram = flat.T @ weighted
    raw = np.einsum("stk,st->k", design**2, weight)
    kept = np.diag(gram) > 1e-7 * np.maximum(raw, 1e-12)
    inverse = np.zeros_like(gram)
    inverse[np.ix_(kept, kept)] = np.linalg.pinv(gram[np.ix_(kept, kept)], rcond=1e-9, hermitian=True)
    coefficient = inverse @ (weighted.T @ left.ravel())
    fitted: Floats = working - (left - inner @ coefficient)
    return _Step(np.where(kept, coefficient, np.nan), fitted, inner, inverse, kept)


def _project_out(values: Floats, weight: Floats) -> Floats:
    """Take row and column effects out of (S, T, K) values by weighted least squares; 0 in cells without weight.

    The rows are solved for by hand, so that a system of T equations is left. It leaves one constant open, and the tiny
    ridge settles it: what the columns are given of it, the rows lose.
    """
    row, column = weight.sum(axis=1), weight.sum(axis=0)
    per_row = np.divide(1.0, row, out=np.zeros_like(row), where=row > 0)
    by_row, by_column = np.einsum("st,stk->sk", weight, values), np.einsum("st,stk->tk", weight, values)
    share = weight * per_row[:, None]
    system = np.diag(column) - weight.T @ share
    ridge = 1e-10 * max(float(column.max()), 1e-300)
    columns = np.linalg.solve(system + ridge * np.eye(len(column)), by_column - share.T @ by_row)
    rows = by_row * per_row[:, None] - share @ columns
    left = values - rows[:, None, :] - columns[None, :, :]
    return np.asarray(left * (weight > 0)[:, :, None])


def _deviance(units: Floats, mean: Floats, usable: Bools, dispersion: float) -> float:
    """Negative binomial deviance (McCullagh and Nelder, Generalized Linear Models, 1989); Poisson's at dispersion 0."""
    y, m = units[usable], mean[usable]
    part = np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / m), 0.0)
    if dispersion > 0:
        return float(2 * (part - (y + 1 / dispersion) * np.log((1 + dispersion * y) / (1 + dispersion * m))).sum())
    return float(2 * (part - (y - m)).sum())


def _covariance(step: _Step, residual: Floats, weight: Floats) -> Floats:
    corrected = residual / (1.0 - _leverage(step, weight))
    score = step.inner * corrected[:, :, None]
    by_week = step.inverse @ long_run(score.sum(axis=0)) @ step.inverse
    single = score.reshape(-1, score.shape[2])
    by_cell = step.inverse @ (single.T @ single) @ step.inverse
    has = np.diag(by_week) > 0
    ratio = np.divide(np.diag(by_cell), np.diag(by_week), out=np.ones(len(has)), where=has)
    widen = np.sqrt(np.maximum(ratio, 1.0))
    return np.asarray(np.where(has[:, None] & has, by_week * np.outer(widen, widen), by_cell))


def _leverage(step: _Step, weight: Floats) -> Floats:
    """(S, T) how much of each cell its row, its column and the regressors take up."""
    row, column = weight.sum(axis=1, keepdims=True), weight.sum(axis=0, keepdims=True)
    parts = [np.divide(weight, total, out=np.zeros_like(weight), where=total > 0) for total in (row, column)]
    own = weight * np.einsum("stk,stk->st", step.inner @ step.inverse, step.inner)
    return np.asarray(np.clip(parts[0] + parts[1] - weight / weight.sum() + own, 0.0, LARGEST_LEVERAGE))


def _column_effect(both: Floats, mask: Floats) -> Floats:
    """(T,) the column part of values that are a row plus a column effect in every cell that counts."""
    in_row, in_column = np.maximum(mask.sum(axis=1), 1.0), np.maximum(mask.sum(axis=0), 1.0)
    column = np.zeros(mask.shape[1])
    for _ in range(500):
        row = (mask * (both - column)).sum(axis=1) / in_row
        after = (mask * (both - row[:, None])).sum(axis=0) / in_column
        done = bool(np.abs(after - column).max(initial=0.0) <= 1e-10)
        column = after
        if done:
            break
    return column
