"""What can show that an effect is confounding: overlap, balance, placebo, agreement with the randomised rows."""

from __future__ import annotations

import numpy as np

from engine.coupon_response.history import History
from engine.coupon_response.nuisance import fit_outcome, fit_propensity
from engine.coupon_response.record import Agreement, Bools, Floats, Ints, Overlap, Placebo
from engine.proposal import N_


def auc(score: Floats, positive: Bools) -> float:
    """Chance that a positive ranks above a negative, ties counting half (Mann and Whitney 1947); NaN without both."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def check_overlap(history: History, propensity: Floats) -> Overlap:
    """Measure overlap on the rows that were targeted."""
    mine = ~history.randomised
    if not mine.any():
        return Overlap(0, float("nan"), 0.0, 1.0)
    chance, sent = 1 - propensity[mine, 0], history.arm[mine] > 0
    weight = 1 / np.maximum(propensity[mine, history.arm[mine]], 1e-3)
    effective = float(weight.sum() ** 2 / (weight**2).sum()) / len(weight)
    outside = float(((chance < 0.05) | (chance > 0.95)).mean())
    return Overlap(int(mine.sum()), _within_strata_auc(chance, sent, history.stratum[mine]), outside, effective)


def _within_strata_auc(chance: Floats, sent: Bools, stratum: Ints) -> float:
    """AUC within strata, weighted by their rows: that one wave sent more than another is no targeting."""
    total, weight = 0.0, 0.0
    for s in np.unique(stratum):
        mine = stratum == s
        one = auc(chance[mine], sent[mine])
        if not np.isnan(one):
            total, weight = total + one * mine.sum(), weight + float(mine.sum())
    return total / weight if weight else float("nan")


def average_effect(history: History, outcome: Floats, treatment: Floats, mine: Bools) -> tuple[Floats, Floats]:
    """Partially linear average effect of each offer on `outcome` (a residual), with errors clustered by customer.

    Args:
        history: the rows.
        outcome: (R,) residual outcome.
        treatment: (R, O) offer sent less its chance.
        mine: (R,) rows to use.

    Returns:
        (O,) effects and standard errors, 0 and infinite where an offer was never sent in these rows.
    """
    n_offers = treatment.shape[1]
    effect, se = np.zeros(n_offers), np.full(n_offers, np.inf)
    x, y, customer = treatment[mine, 1:], outcome[mine], history.customer[mine]
    used = np.flatnonzero((x**2).sum(axis=0) > 1e-9)
    if not len(used):
        return effect, se
    x = x[:, used]
    bread = np.linalg.pinv(x.T @ x)
    found = bread @ (x.T @ y)
    error = x * (y - x @ found)[:, None]
    scores = np.stack([np.bincount(customer, error[:, j]) for j in range(len(used))], axis=1)
    effect[used + 1] = found
    se[used + 1] = np.sqrt(np.maximum(np.diag(bread @ (scores.T @ scores) @ bread), 0))
    return effect, np.where(se > 0, se, np.inf)


def pooled_effect(history: History, outcome: Floats, treatment: Floats, mine: Bools) -> tuple[float, float]:
    """The same for "sent anything": (effect, standard error); (NaN, NaN) where nothing can be compared."""
    both = np.stack([-treatment[:, 0] * 0, -treatment[:, 0]], axis=1)
    effect, se = average_effect(history, outcome, both, mine)
    return (float(effect[1]), float(se[1])) if np.isfinite(se[1]) else (float("nan"), float("nan"))


def check_agreement(history: History, residual: Floats, treatment: Floats) -> Agreement:
    """Average effect on gross profit by the randomised rows, and by the others."""
    return Agreement(
        *pooled_effect(history, residual, treatment, history.randomised),
        *pooled_effect(history, residual, treatment, ~history.randomised),
    )


def check_placebo(history: History, features: Floats, names: tuple[str, ...], fold: Ints, *, seed: int) -> Placebo:
    """Estimate the effect on profit before the coupon, by the same method, without features that hold that profit."""
    none = Placebo("", float("nan"), float("nan"), float("nan"), np.zeros(len(history.offer_ids)))
    earlier, kind = _earlier_profit(history)
    if earlier is None:
        return none
    known = np.isfinite(earlier)
    if known.sum() < 2 * len(np.unique(fold)) or float(earlier[known].std()) == 0:
        return none
    part, x = rows_of(history, known), _without(features, names, kind)[known]
    if not (part.arm > 0).any() or not (part.arm == 0).any():
        return none
    propensity = fit_propensity(part, x, fold[known])
    treatment = (part.arm[:, None] == np.arange(propensity.shape[1])) - propensity
    target = earlier[known]
    residual = target - fit_outcome(target, np.concatenate([x, propensity[:, 1:]], axis=1), fold[known], seed=seed)
    everything = np.ones(len(target), dtype=np.bool_)
    mine = everything if part.randomised.all() else ~part.randomised
    effect, se = pooled_effect(part, residual, treatment, mine)
    each, each_se = average_effect(part, residual, treatment, mine)
    return Placebo(kind, effect, se, effect / se, np.where(np.isfinite(each_se), each / each_se, 0.0))


def _earlier_profit(history: History) -> tuple[Floats | None, str]:
    """(R,) profit before the wave, NaN where none is known."""
    if history.before is not None and float(history.before.std()) > 0:
        return history.before, N_("profit_before")
    if history.n_waves < 2:
        return None, ""
    n, w = len(history.customer_ids), history.n_waves
    cell = history.customer * w + history.wave
    # Profit of waves in which nothing was sent: otherwise the "placebo" would show the former coupon's effect.
    unsent = history.arm == 0
    sums = np.bincount(cell[unsent], history.profit[unsent], n * w)
    counts = np.bincount(cell[unsent], minlength=n * w)
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(n, w)
    earlier = np.concatenate([np.full((n, 1), np.nan), mean[:, :-1]], axis=1)
    return earlier[history.customer, history.wave], N_("previous wave")


def _without(features: Floats, names: tuple[str, ...], kind: str) -> Floats:
    """Leave out what holds the placebo's outcome: adjusting for it would make any placebo pass."""
    held = [name == "profit before" if kind == "profit_before" else name.startswith("past ") for name in names]
    return features[:, ~np.array(held, dtype=np.bool_)] if names else features


def rows_of(history: History, mine: Bools) -> History:
    """The same history with some of its rows only."""
    from dataclasses import replace

    return replace(
        history,
        customer=history.customer[mine],
        wave=history.wave[mine],
        stratum=np.unique(history.stratum[mine], return_inverse=True)[1].astype(np.int64),
        arm=history.arm[mine],
        profit=history.profit[mine],
        redeemed_value=history.redeemed_value[mine],
        redeemed=history.redeemed[mine],
        bought=history.bought[mine],
        randomised=history.randomised[mine],
        before=None if history.before is None else history.before[mine],
    )
