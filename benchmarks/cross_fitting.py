"""Cross-fitting: what leaving folds of products or weeks out of the nuisances does to elasticities of known truth.

    python -m benchmarks.cross_fitting [--shops default:1-4,promo_not_price:1-4,referee_evidence:101-102,...]

Five ways to take out of sales and prices what is not a price's doing, all else alike (channels, noise, calibration,
shrinkage, substitution):

- *nothing left out*: week effects of a group learned from all its products, the product itself among them;
- *5 folds*, *10 folds* of products: week effects from the other folds (10: the product's way);
- *and of weeks*: besides, trend, season, leaflet, display and stockpiling of a product, and its price's dependence on
  them, learned from the other four fifths of its weeks (residual on residual, working responses at the optimum);
- *XGBoost*: besides, these learned by boosted trees over all products (double machine learning: Chernozhukov et al.,
  Econometrics Journal 2018), folds of weeks.

Writes benchmarks/results/cross_fitting.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.known_truth import Case, simulate
from engine.demand import response, week_effects
from engine.demand.channels import Channels
from engine.demand.counts import CountFit
from engine.demand.noise import noise_precision, variance_inflation
from engine.demand.placebo import borrowed_paths, calibration, placebo_scores
from engine.demand.response import EFFECT_NOISE, Response, estimate_response
from engine.panel import Panel, build_panel
from engine.settings import load_settings
from engine.sources import open_shop

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RESULTS = Path(__file__).parent / "results"
SHOPS = "default:1-4,promo_not_price:1-4,referee_evidence:101-102,referee_nested:101-102"
WEEK_FOLDS = 5
NINETY, WIDE = 1.645, 1.96
TREES: dict[str, Any] = {"max_depth": 4, "learning_rate": 0.1, "subsample": 0.8, "min_child_weight": 20.0}
ROUNDS = 80
Learner = Callable[[Panel, CountFit, Floats], Floats]
"""What is left of (S, T, M) columns once the controls are taken out, each week by what the others taught."""


@dataclass(frozen=True)
class Way:
    """One way to take nuisances out."""

    name: str
    product_folds: int | None
    """None: nothing is left out."""
    learner: Learner | None = None
    """Residual on residual by this learner; None: the fit's own."""


def by_weeks(panel: Panel, fit: CountFit, columns: Floats) -> Floats:
    """Residuals from ridge regressions on the controls, product by product; see `Learner`."""
    del panel
    out, block = np.zeros_like(columns), _blocks(columns.shape[1])
    ridge = np.diag(fit.design.control_sd**-2.0)
    for k in range(WEEK_FOLDS):
        train = np.where(block == k, 0.0, fit.weight)
        total = np.maximum(train.sum(axis=1), 1e-9)[:, None]
        centre = [np.einsum("st,stm->sm", train, values) / total for values in (fit.design.controls, columns)]
        known, left = fit.design.controls - centre[0][:, None, :], columns - centre[1][:, None, :]
        gram = _by_product(fit, np.einsum("st,stc,std->scd", train, known, known)) + ridge
        cross = _by_product(fit, np.einsum("st,stc,stm->scm", train, known, left))
        slope = np.linalg.solve(gram, cross)[fit.design.product]
        rest = left - np.einsum("stc,scm->stm", known, slope)
        out[:, block == k] = rest[:, block == k]
    return out * fit.design.usable[:, :, None]


def by_trees(panel: Panel, fit: CountFit, columns: Floats) -> Floats:
    """Residuals from boosted trees over all products; see `Learner`."""
    import xgboost

    features, block = _features(panel, fit, columns), _blocks(columns.shape[1])
    used = fit.design.usable
    out = np.zeros_like(columns)
    for k in range(WEEK_FOLDS):
        here = used & (block == k)
        there = used & (block != k)
        weight = np.where(block == k, 0.0, fit.weight)
        total = np.maximum(weight.sum(axis=1), 1e-9)[:, None]
        left = columns - (np.einsum("st,stm->sm", weight, columns) / total)[:, None, :]
        for m in range(columns.shape[2]):
            data = xgboost.DMatrix(features[there], left[there][:, m], weight=fit.weight[there])
            trees = xgboost.train({**TREES, "nthread": 1, "seed": 1}, data, num_boost_round=ROUNDS)
            out[here, m] = left[here][:, m] - trees.predict(xgboost.DMatrix(features[here]))
    return out


def _features(panel: Panel, fit: CountFit, columns: Floats) -> Floats:
    """(S, T, q) controls, the calendar, the group's week, and what the product is like."""
    shape = fit.design.usable.shape
    clock = np.broadcast_to(np.arange(shape[1], dtype=np.float64), shape)
    group = fit.design.group[fit.design.product]
    week = np.vstack([fit.group_effect, np.zeros(shape[1])])[group]
    size = np.log1p(fit.expected.mean(axis=1, keepdims=True))
    plain = [clock, clock % 52, week, size * np.ones(shape), group[:, None] * np.ones(shape)]
    plain.append(np.log(panel.price.mean(axis=1, keepdims=True)) * np.ones(shape))
    return np.concatenate([fit.design.controls, np.stack(plain, axis=2)], axis=2)


def _blocks(weeks: int) -> Ints:
    """(T,) fold of each week: blocks of consecutive weeks, so that neighbours do not tell on each other."""
    return np.arange(weeks) * WEEK_FOLDS // weeks


def _by_product(fit: CountFit, values: Floats) -> Floats:
    out = np.zeros((fit.design.n_products, *values.shape[1:]))
    np.add.at(out, fit.design.product, values)
    return out


WAYS = (
    Way("nothing left out", None),
    Way("5 folds", 5),
    Way("10 folds", 10),
    Way("and of weeks", 10, by_weeks),
    Way("XGBoost", 10, by_trees),
)


def refit(panel: Panel, channels: Channels, fit: CountFit, learner: Learner) -> CountFit:
    """Estimate the channel coefficients anew, residual on residual, from working responses at the fit's optimum."""
    explained = np.einsum("stk,sk->st", channels.values, fit.coefficient[fit.design.product])
    apart = fit.control_coefficient - fit.control_mean  # what all products share needs no product's own weeks
    explained += np.einsum("stc,sc->st", fit.design.controls, apart[fit.design.product])
    working = explained + np.divide(fit.score, fit.weight, out=np.zeros_like(fit.score), where=fit.weight > 0)
    both = learner(panel, fit, np.concatenate([channels.values, working[:, :, None]], axis=2))
    moves, target = both[:, :, :-1], both[:, :, -1]
    heavy = moves * fit.weight[:, :, None]
    information = _by_product(fit, np.matmul(heavy.transpose(0, 2, 1), moves))
    slope = _by_product(fit, np.einsum("stk,st->sk", heavy, target))
    held = np.eye(moves.shape[2]) / 9.0
    pulled = slope + fit.channel_mean @ held
    found = np.linalg.solve(information + held, pulled[:, :, None])[:, :, 0]
    rest = target - np.einsum("stk,sk->st", moves, found[fit.design.product])
    return replace(fit, coefficient=found, information=information, residual_moves=moves, score=fit.weight * rest)


def placebo_z(panel: Panel, channels: Channels, fit: CountFit, way: Way, rng: np.random.Generator) -> Floats:
    """(P, K) z-scores of a borrowed path by the way's own residuals, before any calibration; NaN: not informative."""
    paths = borrowed_paths(panel, channels, fit.design.group, rng)
    if way.learner is None:
        return placebo_scores(fit, paths).z
    moves = way.learner(panel, fit, paths)
    out = np.full((fit.design.n_products, paths.shape[2]), np.nan)
    for k in range(paths.shape[2]):
        one = moves[:, :, k : k + 1]
        information = _by_product(fit, (fit.weight * one[:, :, 0] ** 2).sum(axis=1))
        has = information > 0.05
        inverse = 1.0 / np.where(has, information, 1.0)
        slope = _by_product(fit, (fit.score * one[:, :, 0]).sum(axis=1)) * inverse
        left = replace(fit, score=fit.score - fit.weight * one[:, :, 0] * slope[fit.design.product, None])
        wider = variance_inflation(left, one, inverse[:, None, None], has[:, None])[:, 0]
        out[has, k] = (slope / np.sqrt(wider * inverse))[has]
    return out


@contextmanager
def done(way: Way, kept: list[float]) -> Iterator[None]:
    """Let `estimate_response` go the way; its uncalibrated placebo coverage is put into `kept`."""

    def estimates(panel: Panel, channels: Channels, fit: CountFit, rng: np.random.Generator) -> tuple[Floats, Floats]:
        own = fit if way.learner is None else refit(panel, channels, fit, way.learner)
        z = np.stack([placebo_z(panel, channels, own, way, rng) for _ in range(2)])
        kept.append(float((np.abs(z[np.isfinite(z)]) < WIDE).mean()))
        scale = 1.0 / np.sqrt(EFFECT_NOISE * calibration(z))
        return response.unshrunken(own), noise_precision(own) * scale[:, None] * scale[None, :]

    dealt = week_effects.folds
    count = way.product_folds

    def folds(group: Ints) -> Ints:
        return dealt(group, count or 1)

    class Joint(week_effects.WeekEffects):
        def __init__(self, product: Ints, group: Ints, sums: week_effects.Sums, weeks: int) -> None:
            super().__init__(product, group, sums, weeks)
            if count is None:
                self.fold = self.fold - 1  # no series is in fold 0: nothing is left out

    with (
        mock.patch.object(response, "estimates", estimates),
        mock.patch.object(week_effects, "folds", folds),
        mock.patch("engine.demand.counts.WeekEffects", Joint),
    ):
        yield


def score(found: Response, true: Floats) -> dict[str, float]:
    """Hold a response against the true everyday elasticities (P,)."""
    error = found.elasticity - true
    return {
        "MAE": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "90 % covers": float((np.abs(error) < NINETY * found.elasticity_se).mean()),
        "mean sd": float(found.elasticity_se.mean()),
    }


def known(scenario: str, seed: int) -> tuple[Panel, Floats]:
    """Write a shop, and read its panel and true everyday elasticities (P,)."""
    with tempfile.TemporaryDirectory() as home:
        ours = not scenario.startswith(("referee", "logit"))
        less: dict[str, object] = {"transactions": False, "coupon_waves": 0} if ours else {}
        truth, _ = simulate(Case(scenario, seed, Path(home)), **less)
        settings = load_settings(None, [f"data.home={home}/home"])
        panel = build_panel(open_shop(str(Path(home) / "shop"), settings), settings)
    place = {product: i for i, product in enumerate(truth.product_ids)}
    return panel, np.asarray(truth.elasticity_regular)[[place[product] for product in panel.product_ids]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shops", default=SHOPS)
    options = parser.parse_args(arguments)
    settings = load_settings(None, [])
    rows = []
    for scenario, seeds in (part.split(":") for part in options.shops.split(",")):
        first, _, last = seeds.partition("-")
        for seed in range(int(first), int(last or first) + 1):
            panel, true = known(scenario, seed)
            for way in WAYS:
                kept: list[float] = []
                begun = time.process_time()
                with done(way, kept):
                    found = estimate_response(panel, settings, seed=seed)
                seconds = time.process_time() - begun
                figures = score(found, true) | {"placebos cover 95 %": kept[0], "CPU seconds": seconds}
                rows.append({"scenario": scenario, "way": way.name, "shops": 1.0} | figures)
    text = report(pd.DataFrame(rows), options.shops)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cross_fitting.md").write_text(text, encoding="utf-8")


def report(rows: pd.DataFrame, shops: str) -> str:
    """Means over the shops of each scenario, in Markdown."""
    grouped = rows.groupby(["scenario", "way"], sort=False)
    table = grouped.mean()
    table["shops"] = grouped.size()
    names = ["scenario", "nuisances", *table.columns]
    lines = [
        "# Cross-fitting the nuisances",
        "",
        "`python -m benchmarks.cross_fitting`, one thread; shops (scenario:seeds):",
        f"{shops}. Means over shops; placebo coverage",
        "before calibration; the ways are described in benchmarks/cross_fitting.py.",
        "",
    ]
    lines += ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for key, row in table.iterrows():
        cells = [f"{value:.0f}" if name == "shops" else f"{value:.3f}" for name, value in row.items()]
        lines.append("| " + " | ".join([*map(str, key if isinstance(key, tuple) else (key,)), *cells]) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
