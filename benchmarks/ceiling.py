"""How much could be captured: the same plans, made by those who know more than any estimator can.

    python -m benchmarks.ceiling --scenarios default,promo_not_price --seeds 5 --first-seed 101

For each shop of engine.simulation, four posteriors of the everyday elasticities lead to four plans, and the truth says
what each gains as a share of the oracle's gain:

* ours: what `offerwright run` acts on;
* prior known: our estimates, read by someone who knows this shop's mean elasticity of every category, what wording and
  private label do to it, and the spread and correlation of what is left;
* counts known: the same reader, and estimates as exact as the counts allow to one who knows every season, shock,
  promotion effect and level, so that nothing but the counts' own chance is left (drawn around the truth);
* truth: the elasticities themselves.

What lies between "counts known" and 1 is out of reach of any method that has this history.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from api.price_stage import PosedPrices, pose_prices, price_problem
from benchmarks.known_truth import Case, simulate
from benchmarks.oracle import best_prices
from benchmarks.referee_shops import RefereeTruth
from engine.demand.counts import CountFit
from engine.demand.response import read_sales
from engine.panel import Panel
from engine.progress import Stopwatch
from engine.settings import Settings, load_settings
from engine.simulation.truth import Truth
from engine.simulation.vocabulary import PREMIUM, VALUE
from engine.sources import open_shop
from optimizers.prices import solve_prices

Floats = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent / "results"
READERS = ("ours", "prior known", "counts known", "truth")
WARM_UP, THIN, STEP = 400, 4, 0.9
LARGEST_SE = 9.0
SMALL = 1e-4
"""Added to variances: random and everyday moves are answered alike, which leaves a covariance without an inverse."""


@dataclass(frozen=True)
class Known:
    """What a shop's own log elasticities are made of: their regression on what can be known beforehand."""

    mean: Floats
    """(P, K) of the log of minus the elasticity, given category, wording and private label."""
    covariance: Floats
    """(K, K) of what is left."""


def known_prior(log_size: Floats, panel: Panel) -> Known:
    """Regress (P, K) true logs on categories and attributes."""
    category = panel.category_code
    of_category = (category[:, None] == np.arange(category.max() + 1)).astype(np.float64)
    attributes = np.column_stack([tone(panel), panel.products["private_label"].to_numpy(dtype=np.float64)])
    design = np.column_stack([of_category, attributes])
    mean = design @ np.linalg.lstsq(design, log_size, rcond=None)[0]
    covariance = np.atleast_2d(np.cov((log_size - mean).T))
    return Known(mean, covariance + SMALL * np.eye(len(covariance)))


def tone(panel: Panel) -> Floats:
    """(P,) 1 for premium wording, -1 for value wording, 0 for neither."""
    titles = panel.products["title"].astype(str).str.lower()
    premium, value = (
        titles.map(lambda title, words=words: any(word.lower() in title for language in words for word in language))
        for words in (PREMIUM, VALUE)
    )
    return premium.to_numpy(dtype=np.float64) - value.to_numpy(dtype=np.float64)


def read_with(known: Known, estimate: Floats, precision: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, P, K) elasticities from the posterior under a known prior, by Metropolis steps for each product."""
    inverse, root = np.linalg.inv(known.covariance), np.linalg.cholesky(known.covariance)

    def density(log_size: Floats) -> Floats:
        miss, away = estimate + np.exp(np.minimum(log_size, 3.0)), log_size - known.mean
        return np.asarray(
            -0.5 * (np.einsum("pi,pij,pj->p", miss, precision, miss) + np.einsum("pi,ij,pj->p", away, inverse, away))
        )

    at = known.mean.copy()
    now = density(at)
    kept = np.empty((draws, *at.shape))
    for step in range(-WARM_UP, draws * THIN):
        new = at + STEP * rng.standard_normal(at.shape) @ root.T
        then = density(new)
        taken = np.log(rng.random(len(at))) < then - now
        at, now = np.where(taken[:, None], new, at), np.where(taken, then, now)
        if step >= 0 and step % THIN == 0:
            kept[step // THIN] = at
    return -np.exp(kept)


def exact_counts(fit: CountFit, elasticity: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Estimates (P, K) drawn around the truth, and their precision (P, K, K), were only each series' level unknown."""
    weight, product = fit.weight, fit.design.product
    precision = np.zeros((*elasticity.shape, elasticity.shape[1]))
    for k in range(elasticity.shape[1]):
        move = fit.design.channels[:, :, k]
        mean = (weight * move).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
        information = np.bincount(product, (weight * (move - mean[:, None]) ** 2).sum(axis=1), len(elasticity))
        precision[:, k, k] = np.maximum(information, LARGEST_SE**-2)
    se = 1.0 / np.sqrt(np.einsum("pkk->pk", precision))
    return elasticity + se * rng.standard_normal(elasticity.shape), precision


def captured(posed: PosedPrices, truth: Truth | RefereeTruth, settings: Settings, seed: int) -> dict[str, float]:
    """Gain of each reader's plan, money; and the oracle's."""
    panel, response = posed.demand.panel, posed.demand.response
    place = {product: i for i, product in enumerate(truth.product_ids)}
    at = np.array([place[product] for product in panel.product_ids])
    channels = [truth.elasticity_promotion[at], truth.elasticity_regular[at], truth.elasticity_regular[at]]
    actual = np.column_stack(channels)[:, : len(response.channels)]
    rng = np.random.default_rng([seed, 1])
    reading = response.reading or read_sales(panel, settings.seed)
    ours = reading.estimate, reading.precision
    known = known_prior(np.log(-actual), panel)
    weeks, draws = settings.demand.horizon_weeks, settings.demand.draws
    own = {"ours": posed.problem.own, "truth": np.broadcast_to(truth.elasticity_regular[at], posed.problem.own.shape)}
    for name, read in (("prior known", ours), ("counts known", exact_counts(reading.fit, actual, rng))):
        own[name] = _everyday(posed, read_with(known, *read, draws, rng), settings)
    gains = {"oracle": truth.gain(best_prices(truth, settings.pricing, weeks=weeks), weeks=weeks)}
    for name in READERS:
        plan = solve_prices(replace(posed.problem, own=own[name]), gap=settings.pricing.gap, seconds=30.0)
        prices = truth.current_price.copy()
        prices[at] = plan.price
        gains[name] = truth.gain(prices, weeks=weeks)
    return gains


def _everyday(posed: PosedPrices, channels: Floats, settings: Settings) -> Floats:
    """(D, P) own elasticities to act on, with our substitution and curvature."""
    posterior = posed.demand.response.posterior
    if posterior is None:
        raise ValueError("the response was read back without its posterior; estimate it again")
    response = replace(posed.demand.response, posterior=replace(posterior, sampled=channels))
    return price_problem(replace(posed.demand, response=response), settings).own


def score(scenario: str, seed: int) -> dict[str, float]:
    """Simulate one shop and let every reader plan."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        truth, _ = simulate(Case(scenario, seed, folder), transactions=False, coupon_waves=0)
        if not isinstance(truth, Truth | RefereeTruth):
            raise SystemExit(f"scenario {scenario!r} has no elasticity of its own to everyday and promotional prices")
        shop = folder / "shop"
        settings = load_settings(None, ["demand.backtest=false", f"data.home={folder / 'home'}", f"data.source={shop}"])
        watch = Stopwatch()
        posed = pose_prices(open_shop(str(shop), settings, watch.listener), settings, watch)
        return captured(posed, truth, settings, seed)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What better-informed readers of the same shops would capture.")
    parser.add_argument("--scenarios", default="default,promo_not_price", help="comma-separated")
    parser.add_argument("--seeds", type=int, default=5, help="number of shops of each scenario")
    parser.add_argument("--first-seed", type=int, default=101)
    parser.add_argument("--out", type=Path, default=RESULTS / "ceiling.md")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score all shops and write the table."""
    asked = parse_arguments(arguments)
    lines = [f"| shops | {' | '.join(READERS)} |", "| --- " * (len(READERS) + 1) + "|"]
    for scenario in asked.scenarios.split(","):
        seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
        gains = []
        for seed in seeds:
            gains.append(score(scenario, seed))
            print(
                scenario, seed, {name: round(gains[-1][name] / gains[-1]["oracle"], 2) for name in READERS}, flush=True
            )
        oracle = sum(gain["oracle"] for gain in gains)
        cells = [f"{sum(gain[name] for gain in gains) / oracle:.2f}" for name in READERS]
        lines.append(f"| {scenario} {seeds.start}–{seeds.stop - 1} | {' | '.join(cells)} |")
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
