"""Orange juice: our everyday elasticities beside store-and-brand fixed effects, and where they part, step by step.

    python -m benchmarks.orange_juice

The reference regresses, brand by brand, log ounces on log price and leaflet with a constant for every store (ordinary
least squares, errors clustered by week). It answers how sales go with price as such, most of which is promotion in
these data. A proposal asks about the everyday price. Between the two lie three steps, each taken in the reference's own
class of model: the price taken apart into everyday and promotion; the prices of the rival brands in the same store,
with which everyday prices move together and to which brands answer very differently; and the trend. What is left after
them is the difference between the classes of model. Writes benchmarks/results/orange_juice.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from engine.demand.channels import PROMOTION, Channels, split_prices
from engine.demand.fitting import fit_panel
from engine.demand.noise import noise_precision, unshrunken
from engine.demand.response import Response, estimate_response
from engine.panel import Panel, build_panel, split_panel
from engine.settings import load_settings
from engine.sources import open_shop

Floats = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
BARE = frozenset({"category weeks", "trend", "season", "stockpiling", "rivals' prices"})
LAGS = 4
REDRAWS = 2000
HALVES = (1, 2)
"""Seeds of the ways to halve the stores."""


@dataclass(frozen=True)
class Slopes:
    """One slope for each of P products."""

    value: Floats
    """(P,)."""
    se: Floats
    """(P,) standard error."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", default=".offerwright")
    options = parser.parse_args(arguments)
    settings = load_settings(None, [f"data.home={options.home}"])
    shop = open_shop("orange_juice", settings)
    panel = build_panel(shop, settings)
    response = estimate_response(panel, settings, seed=settings.seed)
    halves = [half for seed in HALVES for half in split_panel(shop, panel, settings, seed)[:2]]
    text = report(panel, response, [estimate_response(half, settings, seed=settings.seed) for half in halves])
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "orange_juice.md").write_text(text, encoding="utf-8")


def report(panel: Panel, response: Response, halves: Sequence[Response]) -> str:
    """Put the comparison into Markdown, brand by brand; `halves`: responses of halves of the stores."""
    steps = reference_steps(panel)
    ours, cross = Slopes(response.elasticity, response.elasticity_se), Slopes(response.cross, response.cross_se)
    answers = rivals_answers(panel)
    names = list(steps)
    brand = panel.products["title"].astype(str).tolist()
    compared = {**steps, **same_questions(panel), "ours, everyday": ours}
    return "\n".join(
        [
            "# Orange juice: everyday elasticities beside store-and-brand fixed effects",
            "",
            "Slopes ± standard errors. The first four columns are ordinary least squares with a constant for every",
            "store and brand, and leaflet; the others are ours.",
            "",
            _table(
                ["brand", *compared], [[brand[i], *(_cell(s, i) for s in compared.values())] for i in range(len(brand))]
            ),
            "",
            "Rank correlation with the first column: "
            + ", ".join(f"{name} {rank(steps[names[0]].value, s.value):.2f}" for name, s in list(compared.items())[1:])
            + f". The first column, drawn again within its own errors, agrees with itself at "
            f"{agreement_with_itself(steps[names[0]]):.2f} on average.",
            "",
            *_by_chance(steps[names[0]], Slopes(response.raw, response.raw_se)),
            "Responses of halves of the stores agree with the first column at "
            + ", ".join(f"{rank(steps[names[0]].value, half.elasticity):.2f}" for half in halves)
            + ".",
            "",
            "## Where ours parts from the reference",
            "",
            "Each step is the change that it makes to the reference; together they add up to the difference. The last",
            "two columns are the difference in standard errors (of both) from the reference, and from the reference",
            "when it is asked the same question.",
            "",
            _table(
                ["brand", "difference", *names[1:], "rest", "standard errors", "same question"],
                [[brand[i], *_parting(list(steps.values()), ours, i)] for i in range(len(brand))],
            ),
            "",
            "## Answers to the rivals' prices",
            "",
            "Elasticity to the price index of the other brands: ordinary least squares beside everyday price,",
            "promotion, leaflet and trend, and ours (all of it, category weeks included; kept at zero or above).",
            "",
            _table(
                ["brand", "fixed effects", "ours"],
                [[brand[i], _cell(answers, i), _cell(cross, i)] for i in range(len(brand))],
            ),
            "",
        ]
    )


def reference_steps(panel: Panel) -> dict[str, Slopes]:
    """Fixed-effects slopes from price as such to the question that we answer: own slope first in every design."""
    channels = split_prices(panel)
    promotion = channels.column(PROMOTION)
    everyday = channels.values.sum(axis=2) - promotion
    price = np.log(panel.price)
    rivals = rival_index(panel, price)
    clock = np.broadcast_to(np.linspace(-0.5, 0.5, price.shape[1]), price.shape)
    leaflet = panel.mailer
    return {
        "price as such": fixed_effects(panel, [price, leaflet]),
        "everyday, promotion apart": fixed_effects(panel, [everyday, promotion, leaflet]),
        "beside rivals' prices": fixed_effects(panel, [everyday, promotion, leaflet, rivals]),
        "beside a trend": fixed_effects(panel, [everyday, promotion, leaflet, rivals, clock]),
    }


def rivals_answers(panel: Panel) -> Slopes:
    """Fixed-effects slopes in the rivals' prices, in the last design of `reference_steps`."""
    channels = split_prices(panel)
    promotion, price = channels.column(PROMOTION), np.log(panel.price)
    clock = np.broadcast_to(np.linspace(-0.5, 0.5, price.shape[1]), price.shape)
    everyday = channels.values.sum(axis=2) - promotion
    return fixed_effects(panel, [rival_index(panel, price), everyday, promotion, panel.mailer, clock])


def same_questions(panel: Panel) -> dict[str, Slopes]:
    """Our counts asked for price as such: first with the reference's controls, then with all of ours."""
    channels = split_prices(panel)
    merged = Channels(("regular",), channels.values.sum(axis=2, keepdims=True), channels.usable)
    return {
        "ours, price as such, same controls": _one_channel(panel, merged, BARE),
        "ours, price as such, all controls": _one_channel(panel, merged, frozenset()),
    }


def _one_channel(panel: Panel, merged: Channels, without: frozenset[str]) -> Slopes:
    fit = fit_panel(panel, merged, without=without)
    return Slopes(unshrunken(fit)[:, 0], 1.0 / np.sqrt(np.maximum(noise_precision(fit)[:, 0, 0], 1e-12)))


def rival_index(panel: Panel, log_price: Floats) -> Floats:
    """(S, T) log price index of the other brands in the same store, weighted by the chain's revenue."""
    revenue = np.bincount(panel.series_product, (panel.units * panel.price).sum(axis=1))
    weight = revenue[panel.series_product][:, None] * panel.observed
    moved = _demeaned(log_price, panel.observed)
    index = np.zeros_like(log_price)
    for store in np.unique(panel.series_store):
        rows = panel.series_store == store
        part = weight[rows]
        left = part.sum(axis=0) - part
        others = (part * moved[rows]).sum(axis=0) - part * moved[rows]
        index[rows] = np.divide(others, left, out=np.zeros_like(left), where=left > 0)
    return index


def fixed_effects(panel: Panel, columns: Sequence[Floats]) -> Slopes:
    """Slope of log units on the first column, beside the others and series means, brand by brand.

    Errors are clustered by week over all stores, with Bartlett weights over neighbouring weeks (Driscoll and Kraay,
    Review of Economics and Statistics, 1998).
    """
    slope, error = np.zeros(panel.n_products), np.zeros(panel.n_products)
    used = panel.observed & (panel.units > 0)
    units = np.log(np.maximum(panel.units, 1e-9))
    for product in range(panel.n_products):
        rows = panel.series_product == product
        mask = used[rows]
        inner = np.stack([_demeaned(values[rows], mask) for values in columns], axis=2)
        target = _demeaned(units[rows], mask)
        inverse = np.linalg.pinv(np.einsum("stk,stl->kl", inner, inner))
        solved = inverse @ np.einsum("stk,st->k", inner, target)
        weekly = np.einsum("stk,st->tk", inner, target - inner @ solved)
        slope[product] = solved[0]
        error[product] = np.sqrt((inverse @ _long_run(weekly) @ inverse)[0, 0])
    return Slopes(slope, error)


def _long_run(weekly: Floats) -> Floats:
    """(K, K) covariance of the sum of (T, K) weekly scores."""
    total = weekly.T @ weekly
    for lag in range(1, LAGS + 1):
        cross = weekly[lag:].T @ weekly[:-lag]
        total = total + (1 - lag / (LAGS + 1)) * (cross + cross.T)
    return np.asarray(total)


def agreement_with_itself(slopes: Slopes) -> float:
    """Mean rank correlation of slopes with themselves drawn again within their errors: what noise lets anyone reach."""
    drawn = slopes.value + slopes.se * np.random.default_rng(0).standard_normal((REDRAWS, len(slopes.value)))
    return float(np.mean([rank(slopes.value, values) for values in drawn]))


def _by_chance(reference: Slopes, own: Slopes) -> list[str]:
    """How far two readings with these errors agree when both read the same truth."""
    weight = [slopes.se**-2 for slopes in (reference, own)]
    truth = (weight[0] * reference.value + weight[1] * own.value) / (weight[0] + weight[1])
    rng, shape = np.random.default_rng(1), (REDRAWS, len(truth))
    drawn = [truth + slopes.se * rng.standard_normal(shape) for slopes in (reference, own)]
    found = [rank(a, b) for a, b in zip(*drawn, strict=True)]
    low, high = np.quantile(found, (0.05, 0.95))
    return [
        f"Two readings of one truth with the errors of the first column and of our own evidence agree at "
        f"{np.mean(found):.2f} on average ({low:.2f} … {high:.2f}, 90 %).",
        "",
    ]


def rank(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(a, b).statistic)


def _demeaned(values: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    mean = np.where(mask, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(mask, values - mean, 0.0)


def _parting(steps: Sequence[Slopes], ours: Slopes, i: int) -> list[str]:
    values = [slopes.value[i] for slopes in steps]
    changes = [after - before for before, after in pairwise(values)]
    rest = ours.value[i] - values[-1]
    apart = [(ours.value[i] - s.value[i]) / np.hypot(ours.se[i], s.se[i]) for s in (steps[0], steps[-1])]
    return [f"{value:+.2f}" for value in (ours.value[i] - values[0], *changes, rest)] + [f"{z:+.1f}" for z in apart]


def _cell(slopes: Slopes, i: int) -> str:
    return f"{slopes.value[i]:.2f} ± {slopes.se[i]:.2f}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    main()
