"""What a markdown path gains over keeping the prices in force, future by future."""

from __future__ import annotations

import numpy as np

from optimizers.markdown.problem import Floats, Ints, MarkdownProblem


def draw_gains(problem: MarkdownProblem, rung: Ints, rng: np.random.Generator) -> Floats:
    """(D,) money that given prices bring beyond the prices in force, salvage counted, under each draw.

    Products err independently. Where `replan` has weighed their draws, each product's are drawn anew by their weights
    (systematic resampling: Kitagawa 1996), in an order of their own.

    Args:
        problem: stock and demand.
        rung: (P, W) column of the ladder.
        rng: orders the draws of weighed products.
    """
    gains = np.zeros(len(problem.own))
    kept = np.broadcast_to(problem.current_rung[:, None], rung.shape)
    for i in range(len(problem.product_ids)):
        gain = _money(problem, i, rung[i]) - _money(problem, i, kept[i])
        gains += gain if problem.weight is None else rng.permutation(_resampled(gain, problem.weight[:, i]))
    return gains


def sales_quantiles(problem: MarkdownProblem, rung: Ints, share: float) -> Floats:
    """(P, W) units that sales of a week do not exceed with this chance, stock-outs counted.

    Args:
        problem: stock and demand.
        rung: (P, W) column of the ladder.
        share: the chance, in (0, 1).
    """
    probability = problem.probability()
    return np.array(
        [
            [_quantile(week, probability[:, i], share) for week in _sales(problem, i, rung[i])]
            for i in range(len(problem.product_ids))
        ]
    ).reshape(rung.shape)


def _quantile(values: Floats, weight: Floats, share: float) -> float:
    """The least value that at least `share` of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    place = int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-12)))
    return float(values[order[min(place, len(values) - 1)]])


def _sales(problem: MarkdownProblem, product: int, rung: Ints) -> Floats:
    """(W, D) units of one product sold in each week."""
    demand = problem.demand(product)
    left = np.full(len(demand), problem.stock[product])
    sales = np.empty((len(rung), len(demand)))
    for week, column in enumerate(rung.tolist()):
        sales[week] = np.minimum(demand[:, week, column], left)
        left = left - sales[week]
    return sales


def _money(problem: MarkdownProblem, product: int, rung: Ints) -> Floats:
    """(D,) money from one product's sales and salvage."""
    sales = _sales(problem, product, rung)
    margin = problem.ladder[product, rung] - problem.unit_cost[product]
    left = problem.stock[product] - sales.sum(axis=0)
    return np.asarray(margin @ sales + problem.salvage[product] * left)


def _resampled(gain: Floats, weight: Floats) -> Floats:
    """(D,) gains, each as often as its weight says, ascending: their mean is the weighed one but for a step's width."""
    order = np.argsort(gain, kind="stable")
    ends = np.cumsum(weight[order]) / weight.sum()
    places = np.searchsorted(ends, (np.arange(len(gain)) + 0.5) / len(gain))
    return np.asarray(gain[order[np.minimum(places, len(gain) - 1)]])
