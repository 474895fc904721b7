"""Effect of each offer on each customer: residual-on-residual regression with grouped shrinkage.

Outcome and sending are residualised by their cross-fitted expectations (Robinson 1988; Nie and Wager 2021, the
R-learner), which is robust to errors in either, and the effect is linear in features that all offers share. How far
each group of coefficients is shrunk (features shared by the offers, growth with the face value, deviations of single
offers) is learned from the data, so that effects which the data do not show are not acted on: the groups' standard
deviations have half-Cauchy priors (Gelman 2006) and are integrated over. Put at their likeliest values (MacKay 1992),
they would take chance for effect wherever the data show little. Rows that were targeted have groups of their own for
what hidden confounding would add to them, as a function of the features and of the chance of being sent a coupon (a
control function, after Heckman 1979), centred at none: where they contradict the randomised rows the variance of these
groups grows and the targeted rows lose their say (Kallus, Puli and Shalit 2018, "Removing hidden confounding by
experimental grounding"). That variance never falls below what the randomised rows cannot exclude.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.coupon_response.record import Bools, Floats, Ints

ROUNDS = 80
BLOCK = 50_000
"""Customers predicted together."""
HIDDEN_LEVEL = "hidden level"
HIDDEN_SLOPE = "hidden slope"
HIDDEN_LEVEL_SHARE = 2.0
HIDDEN_SLOPE_SHARE = 0.7
"""Least standard deviation of hidden confounding, in standard errors of the randomised rows' average effect."""
WIDENING = 1.2
"""Of standard errors: under hidden targeting plain ones covered 5 plans of 6 (docs/coupons.md)."""
SCALE = 0.05
"""Scale of the half-Cauchy priors, in standard deviations of the residual profit."""
SWEEPS, WARM_UP, THINNING = 100, 20, 2
STRIDE = 1.0
"""Standard deviation of a Metropolis step of a group's log standard deviation."""
SMALLEST = 1e-3
"""A group's standard deviation below this share of the prior's scale is as good as none."""


@dataclass(frozen=True)
class Basis:
    """How a customer's features and an offer make the effect's regressors."""

    potency: Floats
    """(O,) expected relative strength of each offer: the root of its face value over the mean; 0 for none."""

    @property
    def n_offers(self) -> int:
        """O, no coupon included."""
        return len(self.potency)

    def blocks(self, features: Floats) -> list[tuple[str, Floats, Floats]]:
        """Groups of regressors: name, (rows, p) part by customer, (O,) part by offer."""
        one = np.ones((len(features), 1))
        strength = self.potency
        centred = np.where(strength > 0, strength - strength[1:].mean(), 0.0)
        blocks = [("level", one, strength), ("slope", features, strength)]
        if self.n_offers > 2 and np.abs(centred).max() > 1e-9:
            blocks += [("level by face value", one, centred), ("slope by face value", features, centred)]
        return blocks

    def own_blocks(self, features: Floats) -> list[tuple[str, Floats]]:
        """Groups of which every offer has its own copy."""
        one = np.ones((len(features), 1))
        return [("level of one offer", one), ("slope of one offer", features)] if self.n_offers > 2 else []


@dataclass(frozen=True)
class Errors:
    """Joint posterior errors of all effects, kept as regressors and the root of the coefficients' covariance."""

    basis: Basis
    features: Floats
    """(n, F)"""
    root: Floats
    """(p, q)"""

    def sd(self) -> Floats:
        """(n, O) standard deviation of each effect."""
        found = np.zeros((len(self.features), self.basis.n_offers))
        for start in range(0, len(self.features), BLOCK):
            some = slice(start, start + BLOCK)
            for offer in range(1, self.basis.n_offers):
                loads = offer_design(self.basis, self.features[some], offer) @ self.root
                found[some, offer] = np.sqrt((loads**2).sum(axis=1))
        return found

    def moves(self, direction: Floats) -> Floats:
        """(n, O) by how much each effect moves where all errors together go one step in a direction (q,)."""
        moved = np.zeros((len(self.features), self.basis.n_offers))
        for start in range(0, len(self.features), BLOCK):
            some = slice(start, start + BLOCK)
            for offer in range(1, self.basis.n_offers):
                moved[some, offer] = offer_design(self.basis, self.features[some], offer) @ (self.root @ direction)
        return moved

    def sd_of_sum(self, choice: Ints) -> float:
        """Standard deviation of the sum of the effects chosen: (n,) offers."""
        return float(np.linalg.norm(self.loads_of(choice)))

    def loads_of(self, choice: Ints) -> Floats:
        """(q,) how the sum of the effects chosen, (n,) offers, moves with each independent error."""
        total = np.zeros(len(self.root))
        for start in range(0, len(self.features), BLOCK):
            features, picked = self.features[start : start + BLOCK], choice[start : start + BLOCK]
            for offer in range(1, self.basis.n_offers):
                total += offer_design(self.basis, features[picked == offer], offer).sum(axis=0)
        found: Floats = total @ self.root
        return found


@dataclass(frozen=True)
class Effect:
    """Posterior of the coefficients."""

    basis: Basis
    mean: Floats
    """(p,)"""
    root: Floats
    """(p, p) square root of the posterior covariance: covariance = root @ root.T."""
    scale: dict[str, float]
    """Standard deviation learned for each group."""

    def predict(self, features: Floats) -> Floats:
        """Effects (n, O) on gross profit, money; 0 for no coupon."""
        mean = np.zeros((len(features), self.basis.n_offers))
        for start in range(0, len(features), BLOCK):
            some = slice(start, start + BLOCK)
            for offer in range(1, self.basis.n_offers):
                design = offer_design(self.basis, features[some], offer)
                mean[some, offer] = design @ self.mean[: design.shape[1]]
        return mean

    def error(self, features: Floats) -> Errors:
        """What the effects' errors hang on."""
        width = offer_design(self.basis, features[:1], 1).shape[1]
        return Errors(self.basis, features, self.root[:width])


def offer_design(basis: Basis, features: Floats, offer: int) -> Floats:
    """(n, p) regressors of one offer's effect; those for hidden confounding, which come last, are left out."""
    parts = [part * strength[offer] for _, part, strength in basis.blocks(features)]
    for _, part in basis.own_blocks(features):
        parts += [part * (other == offer) for other in range(1, basis.n_offers)]
    return np.concatenate(parts, axis=1)


def row_design(
    basis: Basis, features: Floats, treatment: Floats, chance: Floats, targeted: Bools | None
) -> tuple[Floats, list[str]]:
    """(R, p) regressors of the rows and the group of each.

    Args:
        basis: how they are made.
        features: (R, F).
        treatment: (R, O) offer sent (1) less its chance.
        chance: (R,) of being sent anything.
        targeted: (R,) rows that may be confounded, where others are not; None: all rows are alike.
    """
    parts, groups = [], []
    for name, part, strength in basis.blocks(features):
        parts.append(part * (treatment @ strength)[:, None])
        groups += [name] * part.shape[1]
    for name, part in basis.own_blocks(features):
        for offer in range(1, basis.n_offers):
            parts.append(part * treatment[:, [offer]])
            groups += [name] * part.shape[1]
    if targeted is not None:
        bias = (treatment @ basis.potency) * targeted
        odds = _selection(chance, targeted)
        by_offer = treatment[:, 1:] * targeted[:, None]
        parts += [bias[:, None], by_offer, features * bias[:, None], odds * bias[:, None]]
        groups += [HIDDEN_LEVEL] * (1 + by_offer.shape[1]) + [HIDDEN_SLOPE] * (features.shape[1] + odds.shape[1])
    return np.concatenate(parts, axis=1), groups


def _selection(chance: Floats, targeted: Bools) -> Floats:
    """(R, 2) standardised log odds of being sent a coupon and their square, which hidden selection follows."""
    inside = np.clip(chance, 1e-3, 1 - 1e-3)
    odds = np.log(inside / (1 - inside))
    spread = float(odds[targeted].std())
    odds = (odds - float(odds[targeted].mean())) / (spread if spread > 1e-9 else 1.0)
    return np.stack([odds, odds**2], axis=1)


def make_basis(face_value: Floats) -> Basis:
    """Basis for offers of these face values, (O,) money."""
    face = face_value[1:]
    known = len(face) > 0 and bool((face > 0).all())
    strength = np.sqrt(face / face.mean()) if known else np.ones(len(face))
    return Basis(np.concatenate([[0.0], strength]))


def fit_effect(
    design: Floats,
    groups: list[str],
    target: Floats,
    variance: Floats,
    customer: Ints,
    basis: Basis,
    *,
    rng: np.random.Generator,
    unexcluded: float = 0.0,
) -> Effect:
    """Weighted regression with a random level of each customer and a learned prior variance for each group.

    Args:
        design: (R, p) regressors.
        groups: (p,) group of each.
        target: (R,) residual gross profit, money.
        variance: (R,) its expected square, money squared.
        customer: (R,) numbers, ascending; rows of one customer err together.
        basis: stored with the result.
        rng: draws the groups' standard deviations.
        unexcluded: standard error of the average effect by the randomised rows alone, money; 0 without such rows.
    """
    root = 1 / np.sqrt(variance)
    x, y = design * root[:, None], target * root
    x, y = _whiten(x, y, customer)
    names = sorted(set(groups), key=groups.index)
    member = np.array([names.index(group) for group in groups])
    gram, moment = x.T @ x, x.T @ y
    noise, spread = 1.0, max(float(target.std()), 1e-9)
    shares = {HIDDEN_LEVEL: HIDDEN_LEVEL_SHARE, HIDDEN_SLOPE: HIDDEN_SLOPE_SHARE}
    least = np.array([(shares.get(name, 0.0) * unexcluded) ** 2 for name in names])
    least = np.maximum(least, 1e-8 * spread**2)
    for _ in range(2):
        prior, mean = _likeliest(gram / noise, moment / noise, member, least, spread)
        noise = max(float(((y - x @ mean) ** 2).mean()), 1e-12)
    drawn = _scale_draws(gram / noise, moment / noise, member, prior, np.sqrt(least), SCALE * spread, rng)
    mean, covariance = _mixed([_posterior(gram / noise, moment / noise, sd[member] ** 2) for sd in drawn])
    scale = np.exp(np.log(drawn).mean(axis=0))
    return Effect(
        basis, mean, WIDENING * _square_root(covariance), {name: float(scale[i]) for i, name in enumerate(names)}
    )


def _mixed(parts: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Mean and covariance of an even mixture of normals, given theirs."""
    means = np.array([mean for mean, _ in parts])
    centre = means.mean(axis=0)
    away = means - centre
    return centre, np.mean([covariance for _, covariance in parts], axis=0) + away.T @ away / len(parts)


def _scale_draws(
    gram: Floats,
    moment: Floats,
    member: Ints,
    start: Floats,
    least: Floats,
    scale: float,
    rng: np.random.Generator,
) -> Floats:
    """(D, G) posterior draws of the groups' standard deviations, group by group (Metropolis within Gibbs).

    Args:
        gram: (p, p) regressors' products over the noise variance.
        moment: (p,) theirs with the target.
        member: (p,) group of each.
        start: (G,) variances to start from.
        least: (G,) standard deviations that are not fallen below.
        scale: of the half-Cauchy priors, money.
        rng: proposes and decides.
    """
    floor = np.log(np.maximum(least, SMALLEST * scale))

    def log_density(log_sd: Floats) -> float:
        sd = np.exp(log_sd)
        return _log_marginal(gram, moment, sd[member]) + float((log_sd - np.log1p((sd / scale) ** 2)).sum())

    at = np.maximum(np.log(start) / 2, floor)
    density, kept = log_density(at), []
    for sweep in range(SWEEPS):
        for group in range(len(at)):
            proposed = at.copy()
            proposed[group] += STRIDE * rng.standard_normal()
            chance = np.log(rng.random())
            if proposed[group] < floor[group]:
                continue
            fresh = log_density(proposed)
            if chance < fresh - density:
                at, density = proposed, fresh
        if sweep >= WARM_UP and sweep % THINNING == 0:
            kept.append(np.exp(at))
    return np.array(kept)


def _log_marginal(gram: Floats, moment: Floats, sd: Floats) -> float:
    """Log likelihood of the data, coefficients integrated out, up to a constant; (p,) prior standard deviations."""
    from scipy.linalg import solve_triangular

    root = np.linalg.cholesky(np.eye(len(sd)) + gram * sd[:, None] * sd)
    explained = solve_triangular(root, sd * moment, lower=True, check_finite=False)
    return float(0.5 * explained @ explained - np.log(np.diag(root)).sum())


def _likeliest(gram: Floats, moment: Floats, member: Ints, smallest: Floats, spread: float) -> tuple[Floats, Floats]:
    """Likeliest prior variance of each group (at least `smallest`), and posterior mean of the coefficients there."""
    n_groups = len(smallest)
    sizes = np.bincount(member, minlength=n_groups)
    prior = np.maximum(0.01 * spread**2, smallest)
    mean, covariance = _posterior(gram, moment, prior[member])
    for _ in range(ROUNDS):
        power = np.bincount(member, mean**2, n_groups)
        doubt = np.bincount(member, np.diag(covariance), n_groups)
        learned = np.maximum(sizes - doubt / prior, 1e-6)
        # The geometric mean of the fixed-point (fast) and the EM (safe) update.
        fresh = np.sqrt(np.maximum(power / learned, smallest) * np.maximum((power + doubt) / sizes, smallest))
        settled = bool((np.abs(np.log(fresh / prior)) < 1e-3).all())
        prior = np.clip(fresh, smallest, 100 * spread**2)
        mean, covariance = _posterior(gram, moment, prior[member])
        if settled:
            break
    return prior, mean


def _posterior(gram: Floats, moment: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Posterior of coefficients with independent normal priors, in coordinates where the prior is standard."""
    sd = np.sqrt(prior)
    inner = np.eye(len(sd)) + gram * sd[:, None] * sd
    inverse = np.linalg.inv(inner)
    covariance = inverse * sd[:, None] * sd
    covariance = (covariance + covariance.T) / 2
    return covariance @ moment, covariance


def _square_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def _whiten(x: Floats, y: Floats, customer: Ints) -> tuple[Floats, Floats]:
    """Random-effects transformation: take a part of each customer's mean off his rows (Balestra and Nerlove 1966)."""
    share = _shared_variance(y, customer)
    if share <= 0:
        return x, y
    count = np.bincount(customer).astype(np.float64)
    theta = 1 - np.sqrt((1 - share) / (1 - share + count * share))
    rest = 1 / np.sqrt(1 - share)
    keep = (theta / np.maximum(count, 1))[customer]
    starts = np.flatnonzero(np.diff(customer, prepend=-1))  # the history is sorted by customer
    sums = np.zeros((len(count), x.shape[1]))
    sums[customer[starts]] = np.add.reduceat(x, starts, axis=0)
    total = np.bincount(customer, y, len(count))
    return (x - keep[:, None] * sums[customer]) * rest, (y - keep * total[customer]) * rest


def _shared_variance(y: Floats, customer: Ints) -> float:
    """Correlation of two rows of one customer, by the method of moments; 0 where it is negative or nobody has two."""
    count = np.bincount(customer).astype(np.float64)
    sums, squares = np.bincount(customer, y), np.bincount(customer, y**2)
    pairs = float((count * (count - 1)).sum())
    if pairs <= 0 or float(squares.sum()) <= 0:
        return 0.0
    together = float((sums**2 - squares).sum()) / pairs
    return min(max(together / (float(squares.sum()) / float(count.sum())), 0.0), 0.95)
