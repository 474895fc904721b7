"""What a markdown path gains over keeping the prices in force, future by future."""

from __future__ import annotations

import numpy as np

from optimizers.markdown.plan import Floats, Ints, MarkdownProblem


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


def _money(problem: MarkdownProblem, product: int, rung: Ints) -> Floats:
    """(D,) money from one product's sales and salvage."""
    demand = problem.demand(product)
    left = np.full(len(demand), problem.stock[product])
    money = np.zeros(len(demand))
    for week, column in enumerate(rung.tolist()):
        sales = np.minimum(demand[:, week, column], left)
        money += sales * (problem.ladder[product, column] - problem.unit_cost[product])
        left = left - sales
    return np.asarray(money + problem.salvage[product] * left)


def _resampled(gain: Floats, weight: Floats) -> Floats:
    """(D,) gains, each as often as its weight says, ascending: their mean is the weighed one but for a step's width."""
    order = np.argsort(gain, kind="stable")
    ends = np.cumsum(weight[order]) / weight.sum()
    places = np.searchsorted(ends, (np.arange(len(gain)) + 0.5) / len(gain))
    return np.asarray(gain[order[np.minimum(places, len(gain) - 1)]])
