"""Shrinkage: noisy estimates of many products, each pulled to category and shop as far as its noise warrants.

K channels at once, three levels (Fay & Herriot, JASA 1979; Gelman et al., Bayesian Data Analysis, ch. 5 and 15):

    b_i | theta_i ~ N(theta_i, S_i)          the estimate of product i, with known noise
    theta_i | m   ~ N(m_c(i), Sigma)         products about their category
    m_c | mu      ~ N(mu, omega² Sigma)      categories about the shop
    mu            ~ N(prior)

The noise enters as a precision, so a product without a channel simply has zeros there. theta, m and mu are integrated
out in closed form; what remains (the factors of Sigma = L D L', and omega) is found at its posterior mode and then
drawn around it, the draws weighted by the exact posterior (Laplace proposal with importance resampling; Rubin 1988).
So the width of a response holds its own noise, the spread of products, and how badly that spread is known.

The order of the channels matters to the prior only: each is regressed on those before it. A target channel that the
shop never moved is known through that prior regression alone, with the prior's width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STATES = 100
PROPOSALS = 300
ROBUST_PASSES = 2
OUTLIER = 3.5
LOG_OMEGA = (-0.5, 0.5)
"""Prior mean and sd of log omega: spread of categories over spread of products within one."""


@dataclass(frozen=True)
class Prior:
    """What is believed before the shop's data."""

    mean: Floats
    """(K,) mean of mu."""
    covariance: Floats
    """(K, K) of mu."""
    log_sd: Floats
    """(K,) mean of the log of sqrt(D)."""
    log_sd_sd: Floats
    slope: Floats
    """(K, K) mean of L below the diagonal."""
    slope_sd: Floats


@dataclass(frozen=True)
class _Levels:
    """Estimates in information form, ready for any Sigma."""

    estimate: Floats
    precision: Floats
    category: Ints
    n_categories: int
    prior: Prior


@dataclass(frozen=True)
class _State:
    """Posterior of mu, the categories and the products given Sigma and omega."""

    sigma: Floats
    omega: Floats
    mu_mean: Floats
    mu_covariance: Floats
    category_gain: Floats
    """(C, K, K): m_c = category_base + category_gain mu + noise."""
    category_base: Floats
    category_covariance: Floats
    product_gain: Floats
    """(P, K, K): theta_i = product_base + product_gain m_c + noise."""
    product_base: Floats
    product_covariance: Floats


@dataclass(frozen=True)
class Shrunken:
    """Posterior of the K coefficients of P products."""

    mean: Floats
    """(P, K)."""
    covariance: Floats
    """(P, K, K), uncertainty of all levels included."""
    own_estimate: Floats
    """(P, K) what the product's own data say about each channel, through any channel; NaN where nothing."""
    own_se: Floats
    """(P, K) its standard error: inf where the product's own data say nothing."""
    shop_mean: Floats
    """(K,) posterior mean of mu."""
    shop_covariance: Floats
    """(K, K)."""
    category_mean: Floats
    """(C, K)."""
    sigma: Floats
    """(K, K) spread of products within a category, posterior mean."""
    trusted: Floats
    """(P, K, K) noise precision with the channels of outlying estimates taken down."""
    states: tuple[_State, ...] = field(repr=False)
    category: Ints = field(repr=False)

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P, K) joint posterior draws: products share what is uncertain about category and shop."""
        out = np.empty((n, *self.mean.shape))
        for d in range(n):
            state = self.states[d % len(self.states)]
            out[d] = _draw(state, self.category, rng)
        return out


def shrink(
    estimate: Floats,
    precision: Floats,
    category: Ints,
    prior: Prior,
    *,
    rng: np.random.Generator,
    states: int = STATES,
) -> Shrunken:
    """Posterior of all products' coefficients.

    Args:
        estimate: (P, K); the value does not matter where the precision is zero.
        precision: (P, K, K) inverse noise covariance, positive semi-definite.
        category: (P,) 0…C-1.
        prior: of the shop's mean and of the spreads.
        rng: draws the spreads.
        states: number of draws of the spreads that are kept.
    """
    levels = _Levels(estimate, precision, category, int(category.max(initial=-1)) + 1, prior)
    levels, mode = _trusted_mode(levels)
    points = _sample_spreads(levels, mode, rng, states)
    kept = tuple(_condition(levels, point) for point in points)
    return _summary(levels, kept, _unpack(points.mean(axis=0), len(prior.mean))[0])


def _trusted_mode(levels: _Levels) -> tuple[_Levels, Floats]:
    """The estimates with outliers taken down, and the mode of the spreads' parameters."""
    prior, precision = levels.prior, levels.precision
    start = np.concatenate([prior.log_sd, prior.slope[np.tril_indices(len(prior.mean), -1)], [LOG_OMEGA[0]]])
    mode = _mode(levels, start)
    for _ in range(ROBUST_PASSES):
        levels = replace(levels, precision=_trusted(levels, precision, mode))
        mode = _mode(levels, mode)
    return levels, mode


def _unpack(point: Floats, k: int) -> tuple[Floats, Floats]:
    """Sigma and Omega from (log sqrt D, L below the diagonal, log omega)."""
    lower = np.eye(k)
    lower[np.tril_indices(k, -1)] = point[k:-1]
    sigma = (lower * np.exp(2 * point[:k])) @ lower.T
    return sigma, float(np.exp(2 * point[-1])) * sigma


def _absorb(spread: Floats, info: Floats, linear: Floats) -> tuple[Floats, Floats, Floats]:
    """Integrate x ~ N(m, spread) out of exp(-x'Jx/2 + h'x): new J and h in terms of m, and the log constant."""
    k = spread.shape[-1]
    ratio = np.eye(k) + spread @ info
    inverse = np.linalg.inv(ratio)
    log_det = np.log(np.maximum(np.linalg.det(ratio), 1e-300))
    info_out = info @ inverse
    linear_out = np.matmul(inverse.transpose(0, 2, 1), linear[:, :, None])[:, :, 0]
    inner = np.matmul(inverse @ spread, linear[:, :, None])[:, :, 0]
    constant = -0.5 * log_det + 0.5 * (linear * inner).sum(axis=1)
    return info_out, linear_out, constant


def _category_terms(levels: _Levels, sigma: Floats) -> tuple[Floats, Floats, float]:
    linear = np.matmul(levels.precision, levels.estimate[:, :, None])[:, :, 0]
    info_i, linear_i, constant = _absorb(sigma, levels.precision, linear)
    k = sigma.shape[0]
    info, total = np.zeros((levels.n_categories, k, k)), np.zeros((levels.n_categories, k))
    np.add.at(info, levels.category, info_i)
    np.add.at(total, levels.category, linear_i)
    return info, total, float(constant.sum())


def _log_posterior(levels: _Levels, point: Floats) -> float:
    """Log posterior of the spreads, everything else integrated out, up to a constant."""
    prior, k = levels.prior, levels.estimate.shape[1]
    if np.abs(point).max() > 6:
        return -np.inf
    sigma, omega = _unpack(point, k)
    info, linear, constant = _category_terms(levels, sigma)
    info, linear, more = _absorb(omega, info, linear)
    total_info, total_linear = info.sum(axis=0)[None], linear.sum(axis=0)[None]
    top = total_linear - np.matmul(total_info, prior.mean)
    _, _, last = _absorb(prior.covariance, total_info, top)
    at_mean = float(total_linear[0] @ prior.mean - 0.5 * prior.mean @ total_info[0] @ prior.mean)
    below = np.tril_indices(k, -1)
    log_prior = (((point[:k] - prior.log_sd) / prior.log_sd_sd) ** 2).sum()
    log_prior += (((point[k:-1] - prior.slope[below]) / prior.slope_sd[below]) ** 2).sum()
    log_prior += ((point[-1] - LOG_OMEGA[0]) / LOG_OMEGA[1]) ** 2
    return constant + float(more.sum()) + float(last[0]) + at_mean - 0.5 * float(log_prior)


def _mode(levels: _Levels, start: Floats) -> Floats:
    """Posterior mode of the spreads' parameters."""
    from scipy import optimize

    found = optimize.minimize(
        lambda x: -_log_posterior(levels, x), start, method="L-BFGS-B", bounds=[(-4, 3)] * len(start)
    )
    return np.asarray(found.x, dtype=np.float64)


def _trusted(levels: _Levels, precision: Floats, mode: Floats) -> Floats:
    """Noise precision with the channels of outlying estimates taken down.

    An estimate that lies further from its category than `OUTLIER` standard deviations of noise and spread together is
    no product with an odd elasticity but a product with an odd history (a relaunch, a crop); its noise is widened until
    it lies at that distance (Huber weights on the marginal distance).
    """
    state = _condition(levels, mode)
    _, _, middle = _moments(state, levels.category)
    diagonal = np.diagonal(precision, axis1=1, axis2=2)
    noise = np.divide(1.0, diagonal, out=np.full(diagonal.shape, np.inf), where=diagonal > 0)
    spread = np.diagonal(state.sigma)
    distance = np.abs(levels.estimate - middle[levels.category]) / np.sqrt(spread + noise)
    weight = np.minimum(1.0, OUTLIER / np.maximum(distance, 1e-12))
    trusted: Floats = precision * weight[:, :, None] * weight[:, None, :]
    return trusted


def _sample_spreads(levels: _Levels, mode: Floats, rng: np.random.Generator, states: int) -> Floats:
    """(states, q) draws of the spreads' parameters from their posterior."""
    root = _curvature_root(levels, mode)
    normal = rng.standard_normal((PROPOSALS, len(mode)))
    tail = np.sqrt(rng.chisquare(6, PROPOSALS) / 6)[:, None]
    points = mode + (normal / tail) @ root.T
    log_target = np.array([_log_posterior(levels, point) for point in points])
    distance = ((normal / tail) ** 2).sum(axis=1)
    log_proposal = -0.5 * (6 + len(mode)) * np.log1p(distance / 6)
    log_weight = log_target - log_proposal
    weight = np.exp(log_weight - log_weight.max())
    weight = np.minimum(weight, weight.mean() * np.sqrt(PROPOSALS))
    position = (np.arange(states) + rng.random()) / states
    chosen = np.searchsorted(np.cumsum(weight / weight.sum()), position).clip(0, PROPOSALS - 1)
    drawn: Floats = points[chosen]
    return drawn


def _curvature_root(levels: _Levels, mode: Floats, step: float = 0.05) -> Floats:
    """(q, q) root of the inverse curvature of the log posterior at its mode."""
    q = len(mode)
    eye = step * np.eye(q)
    hessian = np.empty((q, q))
    for i in range(q):
        for j in range(i + 1):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            second = sum(a * b * _log_posterior(levels, mode + a * eye[i] + b * eye[j]) for a, b in signs)
            hessian[i, j] = hessian[j, i] = -second / (4 * step**2)
    curvature, vector = np.linalg.eigh(hessian)
    root: Floats = vector / np.sqrt(np.clip(curvature, 1.0, None))
    return root


def _condition(levels: _Levels, point: Floats) -> _State:
    prior, k = levels.prior, levels.estimate.shape[1]
    sigma, omega = _unpack(point, k)
    info, linear, _ = _category_terms(levels, sigma)
    omega_inverse, sigma_inverse = np.linalg.inv(omega), np.linalg.inv(sigma)
    upper_info, upper_linear, _ = _absorb(omega, info, linear)
    prior_precision = np.linalg.inv(prior.covariance)
    mu_covariance = np.linalg.inv(prior_precision + upper_info.sum(axis=0))
    mu_mean = mu_covariance @ (prior_precision @ prior.mean + upper_linear.sum(axis=0))
    category_covariance = np.asarray(np.linalg.inv(omega_inverse + info), dtype=np.float64)
    product_covariance = np.asarray(np.linalg.inv(sigma_inverse + levels.precision), dtype=np.float64)
    own = np.matmul(levels.precision, levels.estimate[:, :, None])
    return _State(
        sigma=sigma,
        omega=omega,
        mu_mean=mu_mean,
        mu_covariance=mu_covariance,
        category_gain=category_covariance @ omega_inverse,
        category_base=np.matmul(category_covariance, linear[:, :, None])[:, :, 0],
        category_covariance=category_covariance,
        product_gain=product_covariance @ sigma_inverse,
        product_base=np.matmul(product_covariance, own)[:, :, 0],
        product_covariance=product_covariance,
    )


def _draw(state: _State, category: Ints, rng: np.random.Generator) -> Floats:
    """(P, K) one joint draw given the spreads."""
    k = len(state.mu_mean)
    mu = state.mu_mean + np.linalg.cholesky(state.mu_covariance) @ rng.standard_normal(k)
    middle = state.category_base + state.category_gain @ mu
    middle = middle + _noise(state.category_covariance, rng)
    own = state.product_base + np.matmul(state.product_gain, middle[category][:, :, None])[:, :, 0]
    drawn: Floats = own + _noise(state.product_covariance, rng)
    return drawn


def _noise(covariance: Floats, rng: np.random.Generator) -> Floats:
    normal = rng.standard_normal((*covariance.shape[:2], 1))
    return np.asarray(np.matmul(np.linalg.cholesky(covariance), normal)[:, :, 0])


def _moments(state: _State, category: Ints) -> tuple[Floats, Floats, Floats]:
    """Mean (P, K) and covariance (P, K, K) of the products given the spreads, and the categories' mean (C, K)."""
    middle = state.category_base + state.category_gain @ state.mu_mean
    spread = state.category_covariance + state.category_gain @ state.mu_covariance @ state.category_gain.transpose(
        0, 2, 1
    )
    gain = state.product_gain
    mean = state.product_base + np.matmul(gain, middle[category][:, :, None])[:, :, 0]
    covariance = state.product_covariance + gain @ spread[category] @ gain.transpose(0, 2, 1)
    return mean, covariance, middle


def _summary(levels: _Levels, states: tuple[_State, ...], sigma: Floats) -> Shrunken:
    n = len(states)
    k = levels.estimate.shape[1]
    mean, second = np.zeros_like(levels.estimate), np.zeros_like(levels.precision)
    middle = np.zeros((levels.n_categories, k))
    for state in states:
        m, c, categories = _moments(state, levels.category)
        mean += m / n
        second += (c + m[:, :, None] * m[:, None, :]) / n
        middle += categories / n
    mus = np.stack([state.mu_mean for state in states])
    shop_covariance = np.mean([state.mu_covariance for state in states], axis=0) + np.atleast_2d(np.cov(mus.T, ddof=0))
    own_estimate, own_se = _own_evidence(levels, sigma, middle)
    return Shrunken(
        mean=mean,
        covariance=second - mean[:, :, None] * mean[:, None, :],
        own_estimate=own_estimate,
        own_se=own_se,
        shop_mean=mus.mean(axis=0),
        shop_covariance=shop_covariance,
        category_mean=middle,
        sigma=sigma,
        trusted=levels.precision,
        states=states,
        category=levels.category,
    )


def _own_evidence(levels: _Levels, sigma: Floats, middle: Floats) -> tuple[Floats, Floats]:
    """What the product's own data say about each channel, apart from its category.

    The estimate and standard error which, met with the spread of products about their category, would give the same
    posterior: with one channel exactly the product's estimate and its noise; with several, what one channel says about
    another through the spread they share.
    """
    posterior = np.linalg.inv(np.linalg.inv(sigma) + levels.precision)
    centre = middle[levels.category]
    pulled = np.matmul(levels.precision, (levels.estimate - centre)[:, :, None])
    shift = np.matmul(posterior, pulled)[:, :, 0]
    after = np.diagonal(posterior, axis1=1, axis2=2)
    before = np.diagonal(sigma)[None, :]
    gained = 1.0 / after - 1.0 / before
    has = gained > 1e-6 / before
    se = np.sqrt(np.divide(1.0, gained, out=np.full(gained.shape, np.inf), where=has))
    weight = np.divide(1.0, after * gained, out=np.full(gained.shape, np.nan), where=has)
    return centre + shift * weight, se
