"""Many products' elasticities as minus log-normals: a hierarchy on the log scale, sampled.

Demand falls as a price rises, and what differs between products differs in proportion (random coefficients that keep
their sign: Revelt and Train, Review of Economics and Statistics 1998). With K channels and theta = -exp(l):

    b_i | l_i ~ N(-exp(l_i), phi S_i)                  the estimate of product i, its noise known but for a factor
    l_i | m   ~ N(m_c(i) + o_i + x_i' gamma, Sigma)    products about their category (o: text neighbours, x: covariates)
    m_c | mu  ~ N(mu, omega² Sigma)                    categories about the shop
    mu ~ N(prior),  gamma ~ N(0, COVARIATE_SD²),  Sigma = L D L', omega ~ as Prior says,  phi ~ 1 ± NOISE_SD

A normal hierarchy on the scale of theta leaves some products near zero or above, and those are the ones that a plan
makes dearer: on shops with known truth it promised 1.1 to 1.4 times what came.

Nothing is in closed form, so all of it is drawn: Gibbs steps where the conditional is normal, Metropolis steps for the
products (all at once), and each level moved both given the one below and together with it (Yu and Meng, Journal of
Computational and Graphical Statistics 2011), as weak data tie the two. Arrays are (K, P): a chain is many passes over
short vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.demand.shrinkage import LOG_OMEGA, Prior

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COVARIATE_SD = 0.15
"""Log points that one standard deviation of a covariate may explain before the data speak."""
NOISE_SD = 0.2
"""Of the factor on the noise variance, inverse gamma with mean 1. Where noise outweighs what products differ by, a
tenth too much noise takes half of their spread away, and the intervals become too narrow."""
WARM_UP = 400
THIN = 3
PRODUCT_STEPS = 2
SPREAD_STEPS = 2
"""Metropolis rounds of the spreads for each pass over the products; they cost next to nothing."""
LARGEST_LOG = 3.0
"""Elasticities beyond -20 are not told apart."""
START_SD = 0.5
PRODUCT_TARGET, JOINT_TARGET, SINGLE_TARGET = 0.35, 0.3, 0.4
"""Acceptance rates that step sizes are tuned to (Gelman, Gilks and Roberts 1997)."""


@dataclass(frozen=True)
class Sampled:
    """Draws from the posterior."""

    log_size: Floats
    """(D, P, K) log of minus the elasticity."""
    shop: Floats
    """(D, K) mean elasticity of a product of this shop, spreads included."""


def sample_hierarchy(
    estimate: Floats,
    precision: Floats,
    category: Ints,
    prior: Prior,
    *,
    rng: np.random.Generator,
    draws: int,
    offset: Floats | None = None,
    covariates: Floats | None = None,
) -> Sampled:
    """Draw from the posterior of all products' elasticities.

    Args:
        estimate: (P, K); the value does not matter where the precision is zero.
        precision: (P, K, K) inverse noise covariance, positive semi-definite.
        category: (P,) 0…C-1.
        prior: of the shop's mean and of the spreads, on the log scale.
        rng: of the chain.
        draws: number kept; each is `THIN` passes after the one before.
        offset: (P, K) known shift of a product's log elasticity from its category's.
        covariates: (P, Q) standardised; their slopes are learned.
    """
    chain = _Chain(estimate, precision, category, prior, rng, offset, covariates)
    kept, shop = np.empty((draws, *estimate.shape)), np.empty((draws, estimate.shape[1]))
    for at in range(-WARM_UP, draws * THIN):
        chain.step(tuning=0.3 / np.sqrt(1 + (at + WARM_UP) / 20) if at < 0 else 0.0)
        if at >= 0 and at % THIN == 0:
            kept[at // THIN], shop[at // THIN] = chain.log_size.T, chain.shop_mean()
    return Sampled(kept, shop)


@dataclass(frozen=True)
class _Spread:
    """Sigma = root root' and omega, with what every step asks of them."""

    at: Floats
    """(log sqrt D, L below the diagonal, log omega)."""
    root: Floats
    """(K, K) Cholesky factor."""
    unroot: Floats
    """Its inverse."""

    @cached_property
    def inverse(self) -> Floats:
        """(K, K) inverse of Sigma."""
        return np.asarray(self.unroot.T @ self.unroot, dtype=np.float64)

    @property
    def omega(self) -> float:
        """Spread of categories over that of products."""
        return float(np.exp(self.at[-1]))

    def distance(self, squares: Floats) -> float:
        """Trace of Sigma^-1 times `squares`."""
        return float(((self.unroot @ squares) * self.unroot).sum())


class _Chain:
    """Where the chain stands, and its steps."""

    def __init__(
        self,
        estimate: Floats,
        precision: Floats,
        category: Ints,
        prior: Prior,
        rng: np.random.Generator,
        offset: Floats | None,
        covariates: Floats | None,
    ) -> None:
        n, k = estimate.shape
        self.rng, self.prior, self.k = rng, prior, k
        self.estimate, self.precision = np.ascontiguousarray(estimate.T), _packed(precision)
        self.category, self.n_categories = category, int(category.max(initial=-1)) + 1
        self.count = np.bincount(category, minlength=self.n_categories).astype(np.float64)
        self.offset = np.zeros((k, n)) if offset is None else np.ascontiguousarray(offset.T)
        self.covariates = np.zeros((0, n)) if covariates is None else np.ascontiguousarray(covariates.T)
        self.prior_precision = np.linalg.inv(prior.covariance)
        centre, self.root = _start(estimate, precision, prior)
        self.log_size = np.minimum(centre.T, LARGEST_LOG) + 0.0
        self.shop = self.log_size.mean(axis=1)
        self.middle = np.repeat(self.shop[:, None], self.n_categories, axis=1)
        self.slope = np.zeros((k, len(self.covariates)))
        self.explained = self.slope @ self.covariates
        self.below = np.tril_indices(k, -1)
        self.spread_mean = np.concatenate([prior.log_sd, prior.slope[self.below], [LOG_OMEGA[0]]])
        self.spread_sd = np.concatenate([prior.log_sd_sd, prior.slope_sd[self.below], [LOG_OMEGA[1]]])
        self.spread = self._spread(self.spread_mean)
        self.noise, self.informed = 1.0, int((np.einsum("pkk->pk", precision) > 0).sum())
        self.likelihood = self._likelihood(self.log_size)
        self.product_step: Floats = np.ones(n)
        self.category_step: Floats = np.full(self.n_categories, 0.1)
        self.shop_step = 0.05
        spreads = len(self.spread_mean)
        self.spread_step, self.scale_step = np.full(spreads, 0.1), np.full((2, spreads - 1), 0.1)

    def step(self, tuning: float) -> None:
        """One pass over everything; step sizes move by up to `tuning` in logs."""
        self._move_products(tuning)
        self._shift_categories(tuning)
        self._shift_shop(tuning)
        self._draw_slopes()
        self._draw_middles()
        for _ in range(SPREAD_STEPS):
            self._move_spreads(tuning)
        self._rescale(tuning, categories=False)
        self._rescale(tuning, categories=True)
        self._draw_noise()

    def shop_mean(self) -> Floats:
        """(K,) mean elasticity of a product of the shop."""
        variance = (self.spread.root**2).sum(axis=1) * (1 + np.exp(2 * self.spread.at[-1]))
        return np.asarray(-np.exp(np.minimum(self.shop + variance / 2, LARGEST_LOG)))

    def _likelihood(self, log_size: Floats) -> Floats:
        """(P,) log likelihood of each product's estimate."""
        square = _quadratic(self.precision, self.estimate + np.exp(np.minimum(log_size, LARGEST_LOG)))
        return -0.5 / self.noise * square

    def _expected(self) -> Floats:
        """(K, P) mean of the products' logs given everything above them."""
        return np.asarray(self.middle[:, self.category] + self.offset + self.explained)

    def _accept(self, log_ratio: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray(np.log(self.rng.random(log_ratio.shape)) < log_ratio)

    def _move_products(self, tuning: float) -> None:
        """Metropolis: each product by itself, in the directions that its data leave open."""
        packed, expected = _packed(self.spread.inverse[None]), self._expected()
        for _ in range(PRODUCT_STEPS):
            self._move_product_each(packed, expected, tuning)

    def _move_product_each(self, packed: dict[tuple[int, int], Floats], expected: Floats, tuning: float) -> None:
        normal = self.rng.standard_normal(self.log_size.shape)
        away = np.stack([sum(self.root[i, j] * normal[j] for j in range(i + 1)) for i in range(self.k)])
        new = self.log_size + self.product_step * away
        likelihood = self._likelihood(new)
        ratio = likelihood - self.likelihood
        ratio += 0.5 * (_quadratic(packed, self.log_size - expected) - _quadratic(packed, new - expected))
        taken = self._accept(ratio)
        self.log_size, self.likelihood = (
            np.where(taken, new, self.log_size),
            np.where(taken, likelihood, self.likelihood),
        )
        self.product_step *= _tuned(ratio, PRODUCT_TARGET, tuning)

    def _shift_categories(self, tuning: float) -> None:
        """Metropolis: each category's mean together with all its products."""
        packed = _packed(self.spread.inverse[None] / self.spread.omega**2)
        shift = self.category_step * self.rng.standard_normal(self.middle.shape)
        new = self.log_size + shift[:, self.category]
        likelihood = self._likelihood(new)
        away = self.middle - self.shop[:, None]
        ratio: Floats = np.bincount(self.category, likelihood - self.likelihood, self.n_categories).astype(np.float64)
        ratio += 0.5 * (_quadratic(packed, away) - _quadratic(packed, away + shift))
        taken = self._accept(ratio)
        self.middle = self.middle + shift * taken
        moved = taken[self.category]
        self.log_size, self.likelihood = (
            np.where(moved, new, self.log_size),
            np.where(moved, likelihood, self.likelihood),
        )
        self.category_step *= _tuned(ratio, JOINT_TARGET, tuning)

    def _shift_shop(self, tuning: float) -> None:
        """Metropolis: the shop's mean together with everything below it."""
        shift = np.asarray(self.shop_step * self.rng.standard_normal(self.k), dtype=np.float64)
        new = self.log_size + shift[:, None]
        likelihood = self._likelihood(new)
        ratio = float((likelihood - self.likelihood).sum())
        ratio += self._shop_prior(self.shop + shift) - self._shop_prior(self.shop)
        if np.log(self.rng.random()) < ratio:
            self.shop, self.middle = self.shop + shift, self.middle + shift[:, None]
            self.log_size, self.likelihood = new, likelihood
        self.shop_step *= _tuned_one(ratio, JOINT_TARGET, tuning)

    def _draw_noise(self) -> None:
        """Gibbs: the factor on the noise of all estimates."""
        shape = NOISE_SD**-2 + 2
        rate = shape - 1 - self.noise * float(self.likelihood.sum())
        new = rate / self.rng.gamma(shape + self.informed / 2)
        self.likelihood, self.noise = self.likelihood * (self.noise / new), new

    def _draw_slopes(self) -> None:
        """Gibbs: the slopes of the covariates, all channels at once."""
        n = self.slope.size
        if n == 0:
            return
        inverse = self.spread.inverse
        rest = self.log_size - self.middle[:, self.category] - self.offset
        information = np.kron(inverse, self.covariates @ self.covariates.T) + np.eye(n) / COVARIATE_SD**2
        linear = (inverse @ rest @ self.covariates.T).ravel()
        self.slope = _normal(information, linear, self.rng).reshape(self.slope.shape)
        self.explained = self.slope @ self.covariates

    def _draw_middles(self) -> None:
        """Gibbs: the categories' means, then the shop's."""
        inverse = self.spread.inverse
        upper = inverse / self.spread.omega**2
        rest = self.log_size - self.offset - self.explained
        total = np.stack([np.bincount(self.category, part, self.n_categories) for part in rest])
        information = upper[None] + self.count[:, None, None] * inverse[None]
        linear = (upper @ self.shop)[None] + (inverse @ total).T
        self.middle = _normal(information, linear, self.rng).T
        whole = self.prior_precision + self.n_categories * upper
        top = self.prior_precision @ self.prior.mean + upper @ self.middle.sum(axis=1)
        self.shop = _normal(whole, top, self.rng)

    def _move_spreads(self, tuning: float) -> None:
        """Metropolis: each parameter of Sigma and omega, given all means."""
        within = self.log_size - self._expected()
        between = self.middle - self.shop[:, None]
        squares = within @ within.T, between @ between.T
        now = self._spread_density(self.spread, *squares)
        for j in range(len(self.spread_step)):
            new = self._moved(j, self.spread_step[j])
            density = self._spread_density(new, *squares)
            ratio = density - now
            if np.log(self.rng.random()) < ratio:
                self.spread, now = new, density
            self.spread_step[j] *= _tuned_one(ratio, SINGLE_TARGET, tuning)

    def _moved(self, j: int, step: float) -> _Spread:
        """The spreads with parameter `j` moved at random."""
        new = self.spread.at.copy()
        new[j] += step * self.rng.standard_normal()
        return self._spread(new)

    def _spread_density(self, spread: _Spread, within: Floats, between: Floats) -> float:
        """Log density of the spreads given the sums of squares (K, K) of products and categories."""
        half_log_det = float(spread.at[: self.k].sum())
        products = -self.log_size.shape[1] * half_log_det - 0.5 * spread.distance(within)
        return float(products + self._between_density(spread, between) + self._spread_prior(spread))

    def _between_density(self, spread: _Spread, between: Floats) -> float:
        """Log density of the categories' means about the shop's, given their sums of squares (K, K)."""
        half_log_det = float(spread.at[: self.k].sum()) + self.k * float(spread.at[-1])
        squares = spread.distance(between) * float(np.exp(-2 * spread.at[-1]))
        return float(-self.n_categories * half_log_det - 0.5 * squares)

    def _spread_prior(self, spread: _Spread) -> float:
        return float(-0.5 * (((spread.at - self.spread_mean) / self.spread_sd) ** 2).sum())

    def _spread(self, at: Floats) -> _Spread:
        root = np.diag(np.exp(at[: self.k]))
        root[self.below] = at[self.k : -1] * root.diagonal()[self.below[1]]
        return _Spread(at, root, np.linalg.inv(root))

    def _rescale(self, tuning: float, *, categories: bool) -> None:
        """Metropolis: each parameter of Sigma together with the products, and the categories if asked for.

        Their standardised places stay, and so does, nearly, the mean elasticity of the shop.
        """
        step = self.scale_step[int(categories)]
        within = self.log_size - self._expected()
        for j in range(len(step)):
            new, old = self._moved(j, step[j]), self.spread
            turn = new.root @ old.unroot
            shift = ((old.root**2).sum(axis=1) - (new.root**2).sum(axis=1)) / 2
            between = self.middle - self.shop[:, None]
            shop = self.shop + shift
            middle = shop[:, None] + (turn @ between if categories else between)
            log_size = middle[:, self.category] + self.offset + self.explained + turn @ within
            likelihood = self._likelihood(log_size)
            ratio = float((likelihood - self.likelihood).sum()) + self._shop_prior(shop) - self._shop_prior(self.shop)
            ratio += self._spread_prior(new) - self._spread_prior(old)
            if not categories:
                square = between @ between.T
                ratio += self._between_density(new, square) - self._between_density(old, square)
            if np.log(self.rng.random()) < ratio:
                self.spread, self.shop, self.middle = new, shop, middle
                self.log_size, self.likelihood = log_size, likelihood
                within = log_size - self._expected()
            step[j] *= _tuned_one(ratio, SINGLE_TARGET, tuning)

    def _shop_prior(self, shop: Floats) -> float:
        away = shop - self.prior.mean
        return float(-0.5 * away @ self.prior_precision @ away)


def _packed(matrices: Floats) -> dict[tuple[int, int], Floats]:
    """The lower entries of (N, K, K) symmetric matrices as vectors, those off the diagonal doubled."""
    k = matrices.shape[-1]
    return {(i, j): (1.0 + (i != j)) * matrices[:, i, j] for i in range(k) for j in range(i + 1)}


def _quadratic(packed: dict[tuple[int, int], Floats], x: Floats) -> Floats:
    """(N,) x' M x for x of shape (K, N)."""
    return np.asarray(sum(weight * x[i] * x[j] for (i, j), weight in packed.items()))


def _tuned(log_ratio: Floats, target: float, tuning: float) -> Floats:
    """Factor on a step size that brings its acceptance nearer the target (Robbins and Monro 1951)."""
    if tuning == 0.0:
        return np.ones_like(log_ratio)
    return np.asarray(np.exp(tuning * (np.exp(np.minimum(log_ratio, 0.0)) - target)))


def _tuned_one(log_ratio: float, target: float, tuning: float) -> float:
    return 1.0 if tuning == 0.0 else float(_tuned(np.array(log_ratio), target, tuning))


def _normal(information: Floats, linear: Floats, rng: np.random.Generator) -> Floats:
    """Draws (…, n) of normals given in information form: (…, n, n) and (…, n)."""
    covariance = np.linalg.inv(information)
    mean = np.matmul(covariance, linear[..., None])[..., 0]
    normal = rng.standard_normal(linear.shape)
    return np.asarray(mean + np.matmul(np.linalg.cholesky(covariance), normal[..., None])[..., 0])


def _start(estimate: Floats, precision: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Where the products begin (P, K), and the root (K, K, P) of the covariance of their steps.

    One Newton step of each product's log posterior from the prior's mean, with the spread that the prior expects.
    """
    size = np.exp(prior.mean)
    jacobian = -np.diag(size)
    spread = prior.covariance / 4 + np.diag(np.full(len(size), START_SD**2))
    inverse = np.linalg.inv(spread)
    information = inverse[None] + jacobian @ precision @ jacobian
    linear = np.matmul(jacobian @ precision, (estimate + size)[:, :, None])
    covariance = np.linalg.inv(information)
    centre = prior.mean + np.clip(np.matmul(covariance, linear)[:, :, 0], -2.0, 2.0)
    return centre, np.ascontiguousarray(np.linalg.cholesky(covariance).transpose(1, 2, 0))
