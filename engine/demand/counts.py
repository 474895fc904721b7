"""Weekly counts explained: product responses beside everything else that moves demand, each estimated net of the other.

The mean of the count of series s (product i, group g of like products) in week t is

    mu_st = exp(a_s + G_gt + c_st' gamma_i + d_st' b_i)

with series effects a, group-week effects G (category-week, so that a season or an advertised category is not read as
price), controls c with product coefficients gamma_i ~ N(gamma, Lambda) and price channels d with free product
coefficients b_i. All are found together by iteratively reweighted least squares (McCullagh & Nelder, Generalized
Linear Models, 1989) with negative-binomial weights mu / (1 + alpha_i mu): only the mean has to be right
(pseudo-likelihood: Gourieroux, Monfort & Trognon, Econometrica 1984), the weights stop one big week or one big product
from speaking for all. At the optimum the score of b_i is orthogonal to the controls (Neyman orthogonality;
Chernozhukov et al., Econometrics Journal 2018): what is left of a price move once series, group-week and controls are
taken out of it is `residual_moves`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.week_effects import LARGEST_STEP, Cells, Sums, WeekEffects

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ITERATIONS = 40
TOLERANCE = 1e-4
DAMPING = 0.9
CHANNEL_PRIOR_SD = 3.0
"""A free coefficient is held this loosely to the shop's mean, so that a product without moves does not run away."""
OVERDISPERSION_RANGE = (0.01, 3.0)


@dataclass(frozen=True)
class Design:
    """What the counts are explained by."""

    units: Floats
    """(S, T)."""
    usable: Bools
    """(S, T) cells that count."""
    product: Ints
    """(S,) 0…P-1."""
    group: Ints
    """(P,) 0…G-1; -1: no group-week effect."""
    controls: Floats
    """(S, T, C)."""
    control_names: tuple[str, ...]
    control_sd: Floats
    """(C,) starting value of the spread of product coefficients about their mean."""
    channels: Floats
    """(S, T, K)."""
    n_products: int
    sold_only: bool = False
    """True: weeks without a sale are missing (their price is unknown), and the counts are fitted given a sale."""
    fixed: Floats | None = None
    """(P, K) channel coefficients that are given and not estimated; None: estimate them."""


@dataclass(frozen=True)
class CountFit:
    """Fitted counts."""

    coefficient: Floats
    """(P, K) channel coefficients, before any shrinkage."""
    information: Floats
    """(P, K, K) their information net of series effects and controls, were counts independent."""
    residual_moves: Floats
    """(S, T, K) price moves net of series effects and controls."""
    expected: Floats
    """(S, T) fitted units; 0 in cells that do not count."""
    weight: Floats
    """(S, T) working weights."""
    score: Floats
    """(S, T) weighted residual: (units - expected) / (1 + alpha expected)."""
    group_effect: Floats
    """(G, T) log demand of a group in a week, of all its products; 0 where it has no data."""
    group_weight: Floats
    """(G, T) information about it."""
    overdispersion: Floats
    """(P,) alpha: variance = mu + alpha mu²."""
    channel_mean: Floats
    """(K,) mean over products of the channel coefficients, to which each is loosely held."""
    control_mean: Floats
    """(C,) mean over products of the control coefficients."""
    control_coefficient: Floats
    """(P, C)."""
    group_ridge: float
    projection: Floats
    """(P, C + K, C + K) inverse information of controls and channels together, the controls' prior included."""
    design: Design

    def net_of_all(self, path: Floats) -> tuple[Floats, Floats]:
        """A path net of series effects, controls and channels, and its information by product.

        Week effects come from other products and are given.

        Args:
            path: (S, T).

        Returns:
            (S, T) what is left of the path, and (P,) information.
        """
        moves = np.concatenate([self.design.controls, self.design.channels], axis=2)
        product = self.design.product
        mask = self.design.usable
        total = np.maximum(self.weight.sum(axis=1), 1e-12)[:, None]
        centred = np.where(mask, path - (self.weight * path).sum(axis=1, keepdims=True) / total, 0.0)
        mean = np.matmul(self.weight[:, None, :], moves)[:, 0, :] / total
        known = (moves - mean[:, None, :]) * mask[:, :, None]
        sums = Sums(product, self.design.group)
        cross = sums.by_product(np.matmul((self.weight * centred)[:, None, :], known)[:, 0, :])
        onto = np.matmul(self.projection, cross[:, :, None])[:, :, 0]
        left = (centred - np.matmul(known, onto[product][:, :, None])[:, :, 0]) * mask
        information = sums.by_product((self.weight * left**2).sum(axis=1))
        return left, np.maximum(information, 0.0)


class _State:
    """What changes while the fit runs."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.sums = Sums(design.product, design.group)
        self.weeks = WeekEffects(design.product, design.group, self.sums, design.units.shape[1])
        self.mask = design.usable.astype(np.float64)
        self.units = design.units * self.mask
        self.n_controls = design.controls.shape[2]
        weeks = np.maximum(self.mask.sum(axis=1), 1.0)
        moves = np.concatenate([design.controls, design.channels], axis=2) * self.mask[:, :, None]
        self.moves = (moves - moves.sum(axis=1, keepdims=True) / weeks[:, None, None]) * self.mask[:, :, None]
        self.level = np.log(np.maximum(self.units.sum(axis=1) / weeks, 1e-6))
        self.overdispersion = np.full(design.n_products, 0.1)
        n_moves = self.moves.shape[2]
        self.mean = np.zeros(n_moves)
        self.mean[self.n_controls :] = -1.5
        self.sd = np.concatenate([design.control_sd, np.full(n_moves - self.n_controls, CHANNEL_PRIOR_SD)])
        self.coefficient = np.tile(self.mean, (design.n_products, 1))
        if design.fixed is not None:
            self.coefficient[:, self.n_controls :] = design.fixed
        self.expect()

    def _product_part(self) -> Floats:
        by_series = self.coefficient[self.design.product]
        return np.asarray(np.matmul(self.moves, by_series[:, :, None])[:, :, 0])

    def expect(self) -> None:
        """Recompute the mean, the weights and the weighted residuals."""
        self.own_part = self.level[:, None] + self._product_part()
        self.cells = self.cells_at(self.weeks.by_series())

    def cells_at(self, effect: Floats) -> Cells:
        """Fit the counts at (S, T) week effects, everything else as it is."""
        plain = np.exp(np.clip(self.own_part + effect, -20.0, 20.0)) * self.mask
        alpha = self.overdispersion[self.design.product][:, None]
        shrink = 1.0 / (1.0 + alpha * plain)
        expected, slope = _given_sold(plain, alpha, self.mask) if self.design.sold_only else (plain, plain)
        return Cells(plain, expected, slope * shrink, (self.units - expected) * shrink)

    def step_groups(self) -> None:
        """One Newton step of the group-week effects."""
        self.weeks.step(self.cells_at)
        self.expect()

    def centred_moves(self) -> Floats:
        """(S, T, M) moves less their weighted mean in the series; zero in cells that do not count."""
        total = np.maximum(self.cells.weight.sum(axis=1), 1e-12)
        mean = np.matmul(self.cells.weight[:, None, :], self.moves)[:, 0, :] / total[:, None]
        centred: Floats = (self.moves - mean[:, None, :]) * self.mask[:, :, None]
        return centred

    def information(self, centred: Floats) -> Floats:
        """(P, M, M) information net of series effects; week effects come from other products and are given."""
        weighted = centred * self.cells.weight[:, :, None]
        return self.sums.by_product(np.matmul(weighted.transpose(0, 2, 1), centred))

    def step_products(self) -> float:
        """One damped Newton step of levels and product coefficients; the largest move of a coefficient."""
        total = np.maximum(self.cells.weight.sum(axis=1), 1e-12)
        centred = self.centred_moves()
        information = self.information(centred)
        slope = self.sums.by_product(np.matmul(self.cells.score[:, None, :], centred)[:, 0, :])
        precision = 1.0 / self.sd**2
        slope = slope - precision * (self.coefficient - self.mean)
        matrix = information + np.diag(precision)
        step = np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
        if self.design.fixed is not None:
            step = self._control_step(matrix, slope)
        step = DAMPING * np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        self.coefficient = self.coefficient + step
        moved = np.matmul(self.cells.weight[:, None, :], self.moves)[:, 0, :] / total[:, None]
        level_step = self.cells.score.sum(axis=1) / total - (moved * step[self.design.product]).sum(axis=1)
        self.level = self.level + np.clip(level_step, -2.0, 2.0)
        self.expect()
        self.matrix = matrix
        return float(np.abs(step).max(initial=0.0))

    def _control_step(self, matrix: Floats, slope: Floats) -> Floats:
        c = self.n_controls
        step = np.zeros_like(slope)
        step[:, :c] = np.linalg.solve(matrix[:, :c, :c], slope[:, :c, None])[:, :, 0]
        return step

    def learn_spreads(self) -> None:
        """Update overdispersion, group ridge, and mean and spread of the product coefficients (EM steps)."""
        self._learn_overdispersion()
        self.weeks.learn_ridge()
        self._learn_coefficients()

    def _learn_overdispersion(self) -> None:
        plain, expected = self.cells.plain, self.cells.expected
        if self.design.sold_only:
            square, size_cells = self.units**2 - expected * (1.0 + plain), expected * plain
        else:
            square, size_cells = (self.units - expected) ** 2 - expected, expected**2
        excess = self.sums.by_product(square.sum(axis=1))
        size = self.sums.by_product(size_cells.sum(axis=1))
        cells = self.sums.by_product(self.mask.sum(axis=1))
        used = np.clip(1.0 - (self.moves.shape[2] + 1) / np.maximum(cells, 1.0), 0.2, 1.0)
        pooled = max(float(excess.sum() / max(size.sum(), 1e-12)), OVERDISPERSION_RANGE[0])
        own = np.divide(excess / used, size, out=np.full(len(size), pooled), where=size > 0)
        typical = float(np.median(np.clip(own, *OVERDISPERSION_RANGE))) if len(own) else pooled
        trust = cells / (cells + 20.0)
        self.overdispersion = np.clip(trust * own + (1 - trust) * typical, *OVERDISPERSION_RANGE)

    def _learn_coefficients(self) -> None:
        left = np.linalg.inv(self.matrix)
        variance = np.maximum(np.diagonal(left, axis1=1, axis2=2), 0.0)
        prior = self.sd**2
        informed = np.clip(1.0 - variance / prior, 0.0, 1.0)
        total = informed.sum(axis=0)
        strong = total > 1.0
        mean = (informed * self.coefficient).sum(axis=0) / np.maximum(total, 1e-12)
        self.mean = np.where(strong, mean, self.mean)
        spread = np.sqrt(((self.coefficient - self.mean) ** 2 + variance).mean(axis=0))
        c = self.n_controls
        self.sd[:c] = np.clip(spread[:c], 0.02, 2.0)


def _given_sold(expected: Floats, alpha: Floats, mask: Floats) -> tuple[Floats, Floats]:
    """Mean of a negative binomial count that is not zero, and its derivative in the log of the plain mean.

    With p = (1 + alpha mu)^(-1/alpha) the chance of a zero, the mean is m = mu / (1 - p) and
    dm / d log mu = m - m² p / (1 + alpha mu). (Grogger & Carson, Journal of Applied Econometrics 1991.)
    """
    grown = alpha * expected
    log_zero = -np.log1p(grown) / alpha
    sold = np.maximum(-np.expm1(log_zero), 1e-12)
    mean = np.where(mask > 0, expected / sold, 0.0)
    slope = mean - mean**2 * np.exp(log_zero) / (1.0 + grown)
    return mean, np.maximum(slope, 1e-12) * mask


def fit_counts(design: Design) -> CountFit:
    """Fit the counts; see the module's text for the model.

    Returns:
        estimates for every product; a product whose prices do not move has (nearly) no information.
    """
    state = _State(design)
    for iteration in range(ITERATIONS):
        state.step_groups()
        largest = state.step_products()
        if iteration in (4, 8, 12, 18):
            state.learn_spreads()
            state.expect()
        elif iteration > 18 and largest < TOLERANCE:
            break
    state.step_groups()
    return _result(state)


def _result(state: _State) -> CountFit:
    c, design = state.n_controls, state.design
    centred = state.centred_moves()
    full = state.information(centred)
    inner = full[:, :c, :c] + np.diag(1.0 / state.sd[:c] ** 2)
    onto = np.linalg.solve(inner, full[:, :c, c:]) if c else np.zeros((design.n_products, 0, full.shape[2]))
    information = full[:, c:, c:] - np.matmul(full[:, c:, :c], onto)
    projection = np.asarray(np.linalg.inv(full + np.diag(1.0 / state.sd**2)), dtype=np.float64)
    group_effect, group_weight = state.weeks.whole(state.cells_at)
    residual = centred[:, :, c:] - np.matmul(centred[:, :, :c], onto[design.product])
    return CountFit(
        coefficient=state.coefficient[:, c:].copy(),
        information=0.5 * (information + information.transpose(0, 2, 1)),
        residual_moves=residual,
        expected=state.cells.expected,
        weight=state.cells.weight,
        score=state.cells.score,
        group_effect=group_effect,
        group_weight=group_weight,
        overdispersion=state.overdispersion,
        channel_mean=state.mean[c:].copy(),
        control_mean=state.mean[:c].copy(),
        control_coefficient=state.coefficient[:, :c].copy(),
        group_ridge=state.weeks.ridge,
        projection=projection,
        design=design,
    )
