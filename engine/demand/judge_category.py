"""One category as the judge sees it: how each product answers to its own price, and the category to the prices of all.

First the counts, with a constant for every series and every week of the category, and for every product a slope b_i in
its everyday price and one in its promotions. Where a product is seen in many stores it also has a slope d_i in the
price index of the category in its store: brands answer very differently to the same rivals, and everyday prices move
together.

What the week constants G_t took is then regressed on the prices of the category, beside a trend and the season:

    G_t = k · sum_j w_j |b_j| x_jt + season + noise,      x the log everyday price, w the revenue share

k is the diversion ratio: the part of the sales that a dearer product loses which its category keeps (Conlon and
Mortimer, RAND Journal of Economics, 2021). In a logit market it weighs each rival's move by what that rival loses; a
market that answers to a price index weighs all by revenue alone. No history of some hundred weeks tells the two apart,
so both are fitted (`LEANS`) and the judge averages over them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.absorbed import LARGEST_LEVERAGE, AbsorbedFit, fit_absorbed, long_run
from engine.demand.channels import PROMOTION, Channels
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LEANS = (0.0, 1.0)
"""Power of a rival's slope in its weight: 0 a price index, 1 logit."""
MANY_STORES = 8
"""Series a product, on average, from which on each product has its own answer to its rivals."""
SLOPE_SIZE = (0.2, 6.0)
TYPICAL_SIZE = 2.0
"""Size of a slope where the category tells none."""
WEEKS_FOR_SEASON = 70
SPARE_WEEKS = 8
YEAR_WEEKS = 365.25 / 7


@dataclass(frozen=True)
class Diversion:
    """The diversion ratio of a category as one form of demand reads it."""

    pull: Floats
    """(n,) weight of each product's log price: revenue share times the size of its slope, as the form has it."""
    estimate: float
    """NaN where the weeks tell nothing."""
    noise: float
    """Standard error at given slopes; inf where the weeks tell nothing."""
    by_slope: Floats
    """(n,) how the estimate moves with an error in each slope."""


@dataclass(frozen=True)
class CategoryFit:
    """Slopes of the n products of a category that were sold."""

    products: Ints
    """(n,) positions in the panel."""
    slope: Floats
    """(n,) in the log everyday price, net of the category's weeks; NaN where the price did not move."""
    slope_se: Floats
    """(n,) inf where the price did not move."""
    rivals: Floats
    """(n,) in the log price index of the category in the store, net of the category's weeks; 0 where not fitted."""
    covariance: Floats
    """(2n, 2n) of the errors of slope and rivals."""
    share: Floats
    """(n,) of the category's revenue at today's prices."""
    diversion: tuple[Diversion, ...]
    """One for each of LEANS."""

    def draws(self, count: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Draw slopes (count, n), rivals (count, n) and the diversion ratios (count, LEANS), errors joint."""
        n = len(self.products)
        values, vectors = np.linalg.eigh(self.covariance)
        root = (vectors * np.sqrt(np.maximum(values, 0.0))).T
        error = rng.standard_normal((count, 2 * n)) @ root
        ratios = [
            form.estimate + error[:, :n] @ form.by_slope + form.noise * rng.standard_normal(count)
            if np.isfinite(form.noise)
            else np.full(count, np.nan)
            for form in self.diversion
        ]
        return self.slope + error[:, :n], self.rivals + error[:, n:], np.stack(ratios, axis=1)


@dataclass(frozen=True)
class _Cells:
    """The rows of a category, ready to be fitted."""

    units: Floats
    usable: Bools
    label: Ints
    """(S,) 0…n-1."""
    everyday: Floats
    """(S, T) log price without promotions, centred in its series."""
    price: Floats
    """(S, T) log price, centred in its series."""


def fit_category(
    panel: Panel, channels: Channels, rows: Ints, current_price: Floats, largest_se: float
) -> CategoryFit | None:
    """Fit the series `rows` of one category; None where there is too little to fit.

    Args:
        panel: held-out sales.
        channels: prices taken apart.
        rows: series of the category.
        current_price: (P,) today's everyday prices, money per unit.
        largest_se: a slope less certain than this is not used to weigh the product.
    """
    products, label = np.unique(panel.series_product[rows], return_inverse=True)
    usable = channels.usable[rows]
    units = np.where(usable, panel.units[rows], 0.0)
    # Series and weeks in which nothing was sold carry no information and have no finite effect.
    usable = usable & (units.sum(axis=1) > 0)[:, None] & (units.sum(axis=0) > 0)[None, :]
    logs = channels.values[rows].sum(axis=2)
    everyday = logs - channels.column(PROMOTION)[rows]
    cells = _Cells(np.where(usable, units, 0.0), usable, label, _centred(everyday, usable), _centred(logs, usable))
    n = len(products)
    revenue = np.bincount(label, cells.units.sum(axis=1), minlength=n) * current_price[products]
    share = revenue / revenue.sum() if revenue.sum() > 0 else np.full(n, 1.0 / n)
    own = len(rows) >= MANY_STORES * n
    fit = fit_absorbed(cells.units, _design(panel, channels, rows, cells, share if own else None), usable)
    if fit is None:
        return None
    return _category(products, share, cells, fit, largest_se, has_rivals=own)


def _design(panel: Panel, channels: Channels, rows: Ints, cells: _Cells, share: Floats | None) -> Floats:
    """(S, T, K): by product the target, rivals (if `share` is given) and promotion; then the rest, common to all."""
    values, n = channels.values[rows], int(cells.label.max()) + 1
    columns = _by_product(values[:, :, channels.target], cells.label, n)
    if share is not None:
        columns += _by_product(_store_index(cells, panel.series_store[rows], share), cells.label, n)
    for k, name in enumerate(channels.names):
        if k != channels.target:
            columns += _by_product(values[:, :, k], cells.label, n) if name == PROMOTION else [values[:, :, k]]
    columns += [flag[rows] for flag in (panel.mailer, panel.display) if np.ptp(flag[rows]) > 0]
    return np.stack(columns, axis=2)


def _by_product(values: Floats, label: Ints, n: int) -> list[Floats]:
    return [np.where(label[:, None] == i, values, 0.0) for i in range(n)]


def _store_index(cells: _Cells, store: npt.NDArray[np.object_], share: Floats) -> Floats:
    """(S, T) log price index of the category in each series' store."""
    place = np.unique(store, return_inverse=True)[1]
    weight = share[cells.label][:, None] * cells.usable
    total, mass = (np.zeros((int(place.max()) + 1, weight.shape[1])) for _ in range(2))
    np.add.at(total, place, weight * cells.price)
    np.add.at(mass, place, weight)
    return np.asarray(np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)[place])


def _category(
    products: Ints, share: Floats, cells: _Cells, fit: AbsorbedFit, largest_se: float, *, has_rivals: bool
) -> CategoryFit:
    n = len(products)
    used = 2 * n if has_rivals else n
    covariance = np.zeros((2 * n, 2 * n))
    covariance[:used, :used] = fit.covariance[:used, :used]
    coefficient = np.concatenate([fit.coefficient[:used], np.zeros(2 * n - used)])
    slope, se = coefficient[:n], fit.se[:n]
    known = np.where(se <= largest_se, np.clip(-slope, *SLOPE_SIZE), np.nan)
    told = np.isfinite(known)
    typical = float(np.average(known[told], weights=share[told] + 1e-12)) if told.any() else TYPICAL_SIZE
    size = np.where(told, known, typical)
    pulls = [share * size**lean * typical ** (1 - lean) for lean in LEANS]
    diversion = tuple(_diversion(pull, cells, fit) for pull in pulls)
    return CategoryFit(products, slope, se, np.nan_to_num(coefficient[n:]), covariance, share, diversion)


def _diversion(pull: Floats, cells: _Cells, fit: AbsorbedFit) -> Diversion:
    """Regress the week effects on the category's prices, weighted by what was sold in the week."""
    n, nothing = len(pull), Diversion(pull, np.nan, np.inf, np.zeros(len(pull)))
    weeks = np.asarray(cells.usable.any(axis=0))
    everyday, promoted, part = (np.zeros((n, len(weeks))) for _ in range(3))
    series_mean = fit.mean.sum(axis=1, keepdims=True)
    for out, values in ((everyday, cells.everyday), (promoted, cells.price - cells.everyday)):
        np.add.at(out, cells.label, series_mean * values)
    total = np.bincount(cells.label, series_mean[:, 0], minlength=n)[:, None]
    everyday, promoted = (np.divide(v, total, out=np.zeros_like(v), where=total > 0) for v in (everyday, promoted))
    np.add.at(part, cells.label, fit.mean)
    sold = np.maximum(part.sum(axis=0), 1e-12)
    known = np.column_stack([_calendar(len(weeks)), pull @ promoted])[weeks]
    if int(weeks.sum()) - known.shape[1] - 1 < SPARE_WEEKS:
        return nothing
    root = np.sqrt(sold / sold[weeks].mean())[weeks][:, None]
    both = np.column_stack([fit.column_effect, pull @ everyday, (part / sold * everyday).T])[weeks]
    solved, *_ = np.linalg.lstsq(root * known, root * both, rcond=None)
    net = root * (both - known @ solved)
    effect, index, hidden = net[:, 0], net[:, 1], net[:, 2:]
    information = float(index @ index)
    if information < 1e-3:
        return nothing
    ratio = float(index @ effect) / information
    taken = (np.linalg.qr(np.column_stack([root * known, index]))[0] ** 2).sum(axis=1)
    score = index * (effect - ratio * index) / (1.0 - np.minimum(taken, LARGEST_LEVERAGE))
    variance = long_run(score[:, None])[0, 0] / information**2
    return Diversion(pull, ratio, float(np.sqrt(max(variance, 1e-8))), -(index @ hidden) / information)


def _calendar(weeks: int) -> Floats:
    """(T, q) constant, trend and the season: waves where there is more than a year, else a cubic."""
    clock = np.arange(weeks)
    trend = clock / max(weeks, 1) - 0.5
    if weeks < WEEKS_FOR_SEASON:
        return np.column_stack([np.ones(weeks), trend, trend**2, trend**3])
    angle = 2 * np.pi * clock / YEAR_WEEKS
    waves = [wave(times * angle) for times in (1, 2) for wave in (np.sin, np.cos)]
    return np.column_stack([np.ones(weeks), trend, *waves])


def _centred(values: Floats, usable: Bools) -> Floats:
    count = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    mean = np.where(usable, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(usable, values - mean, 0.0)
