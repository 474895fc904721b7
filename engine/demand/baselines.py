"""The simpler forecasts that the level model must beat, on the same weeks with the same knowledge."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.level_features import SMALL, History, Wanted, build_design, rolling_mean
from engine.demand.level_plan import Plan, drivers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GLM_FEATURES = (
    "lags.raw_mean_4",
    "lags.raw_mean_13",
    "lags.units_0",
    "lags.zeros_13",
    "price.to_mean_13",
    "price.discount",
    "price.regular_to_mean_13",
    "promotions.mailer",
    "promotions.display",
    "promotions.discount_0",
    "promotions.discount_13",
    "category.month",
    "category.discount",
    "age.weeks",
)
"""What the Poisson regression sees: the lags, prices, promotions and category context of the level model."""
MAX_LOG = 20.0


def last_weeks_mean(history: History, as_of: Ints, weeks: int = 4) -> Floats:
    """(S, W) mean units of the last usable `weeks` up to `as_of` (W,); 0 where there is none."""
    return np.nan_to_num(rolling_mean(history.units, history.usable, weeks)[:, as_of])


@dataclass(frozen=True)
class LogLog:
    """log(1 + units) on log price, leaflet and display with an effect for each series, by least squares."""

    effect: Floats
    """(S,) fixed effects; the mean one where the series was never usable."""
    slope: Floats
    """(4,) discount, everyday price (elasticities), leaflet, display."""
    smearing: float
    """Mean of exp(residual), Duan (JASA 1983)."""

    def predict(self, seen: Floats) -> Floats:
        """(S, W) expected units for drivers (S, W, 4)."""
        eta = np.clip(self.effect[:, None] + seen @ self.slope, -MAX_LOG, MAX_LOG)
        return np.asarray(np.maximum(np.exp(eta) * self.smearing - 1.0, 0.0), dtype=np.float64)


def fit_loglog(history: History, plan: Plan, weeks: int) -> LogLog:
    """Least squares within series (the fixed effects absorbed by demeaning) on the first `weeks` weeks."""
    usable = history.usable[:, :weeks]
    seen = drivers(plan, history.anchor)[:, :weeks]
    logs = np.log1p(history.units[:, :weeks])
    count = usable.sum(axis=1)
    mean_log = _series_mean(logs, usable)
    mean_seen = np.stack([_series_mean(seen[:, :, k], usable) for k in range(seen.shape[-1])], axis=-1)
    within, target = (seen - mean_seen[:, None])[usable], (logs - mean_log[:, None])[usable]
    gram = within.T @ within + 1e-6 * np.eye(seen.shape[-1])
    slope = np.asarray(np.linalg.solve(gram, within.T @ target), dtype=np.float64)
    residual = target - within @ slope
    effect = mean_log - mean_seen @ slope
    effect = np.where(count > 0, effect, effect[count > 0].mean() if (count > 0).any() else 0.0)
    return LogLog(effect, slope, float(np.exp(residual).mean()) if residual.size else 1.0)


def _series_mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    count = counted.sum(axis=1)
    mean: Floats = np.where(counted, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    return mean


@dataclass(frozen=True)
class Glm:
    """Poisson regression (statsmodels) with the log trailing mean as offset."""

    coefficients: Floats
    centre: Floats
    scale: Floats
    horizon: int

    def predict(self, history: History, plan: Plan, targets: Ints) -> Floats:
        """(S, W) expected units of the target weeks."""
        features, offset = _glm_rows(history, plan, targets, self.horizon)
        eta = offset + _standard(features, self.centre, self.scale) @ self.coefficients
        units = np.exp(np.clip(eta, -MAX_LOG, MAX_LOG))
        return np.asarray(units, dtype=np.float64).reshape(len(history.units), len(targets))


def fit_glm(history: History, plan: Plan, weeks: int, horizon: int, first: int) -> Glm:
    """Fit on the usable cells of the weeks `first` … `weeks` - 1, each seen `horizon` weeks before."""
    targets = np.arange(horizon + first, weeks)
    features, offset = _glm_rows(history, plan, targets, horizon)
    usable, units = history.usable[:, targets].ravel(), history.units[:, targets].ravel()
    features, offset, units = features[usable], offset[usable], units[usable]
    centre, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    rows = _standard(features, centre, scale)
    kept = _independent(rows)
    coefficients = np.zeros(rows.shape[1])
    coefficients[kept] = _poisson(rows[:, kept], units, offset)
    return Glm(coefficients, centre, scale, horizon)


def _independent(rows: Floats) -> Ints:
    """Positions of columns that are not a combination of those before them; the constant is the first."""
    pivots = np.abs(np.diag(np.linalg.qr(rows, mode="r")))
    return np.flatnonzero(pivots > 1e-6 * np.sqrt(len(rows)))


def _poisson(rows: Floats, units: Floats, offset: Floats) -> Floats:
    """(K,) coefficients; the mean ratio alone where the regression does not converge (next to nothing sold)."""
    import statsmodels.api as sm

    mean = np.zeros(rows.shape[1])
    mean[0] = np.log((units.sum() + SMALL) / (np.exp(offset).sum() + SMALL))
    if len(units) < 5 * rows.shape[1]:
        return mean
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            fitted = sm.GLM(units, rows, family=sm.families.Poisson(), offset=offset).fit(start_params=mean, maxiter=50)
        except (ValueError, np.linalg.LinAlgError):
            return mean
    found = np.asarray(fitted.params, dtype=np.float64)
    return found if np.isfinite(found).all() and np.abs(found).max() < MAX_LOG else mean


def _standard(features: Floats, centre: Floats, scale: Floats) -> Floats:
    """(n, K+1) a constant and the standardised features, cut at five standard deviations."""
    return np.column_stack([np.ones(len(features)), np.clip((features - centre) / scale, -5.0, 5.0)])


def _glm_rows(history: History, plan: Plan, targets: Ints, horizon: int) -> tuple[Floats, Floats]:
    """(n, K) features, and the log trailing mean of a quarter as offset, (n,)."""
    design = build_design(history, plan, targets, horizon, Wanted(GLM_FEATURES))
    as_of = targets - horizon
    mean = np.nan_to_num(rolling_mean(history.units, history.usable, 13)[:, as_of])
    offset = np.log(mean + SMALL).ravel()
    level = history.filtered.level[:, as_of].ravel()
    features = design.values.astype(np.float64)
    for k, name in enumerate(GLM_FEATURES):
        if name.startswith("lags.") and name != "lags.zeros_13":
            features[:, k] += level - offset
    return np.nan_to_num(features), offset
