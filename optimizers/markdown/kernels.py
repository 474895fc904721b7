"""Compiled loops over price paths. One thread, fixed order of summation: same input, same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.compiled import compiled

# numba compiles for the types it meets, so array parameters are not annotated further.
Array = Any


@compiled()
def value_paths(units: Array, margin: Array, stock: float, weight: Array, paths: Array, value: Array) -> Array:
    """Value every path under every draw.

    Args:
        units: (D, W, K) demand by draw, week and rung.
        margin: (K,) what a unit sold at the rung brings over leaving it to salvage, money.
        stock: units at the start.
        weight: (D,) probability of each draw.
        paths: (N, W) rung of each week.
        value: (N,) is filled with the expected value over salvaging everything, money.

    Returns:
        (D,) the best value that any path has under each draw.
    """
    draws, weeks = units.shape[0], units.shape[1]
    best = np.full(draws, -np.inf)
    for n in range(paths.shape[0]):
        total = 0.0
        for d in range(draws):
            left = stock
            worth = 0.0
            for w in range(weeks):
                k = paths[n, w]
                sold = min(units[d, w, k], left)
                left -= sold
                worth += margin[k] * sold
            total += weight[d] * worth
            best[d] = max(best[d], worth)
        value[n] = total
    return best


@compiled()
def potential(units: Array, margin: Array, stock: float, cells: int, falling: bool) -> Array:
    """Most that can still be earned by someone who knows the draw, over a grid of stock, limits on changes left out.

    Stock is rounded up to the grid, and a unit may stay unsold where selling it costs money, so the figure is never
    too small.

    Args:
        units: (D, W, K) demand.
        margin: (K,) money per unit, over salvage; rungs ascend in price.
        stock: units at the start.
        cells: steps of the grid of stock.
        falling: whether prices may only fall.

    Returns:
        (W + 1, K, cells + 1, D) from week w on, with rung k in force before it.
    """
    draws, weeks, rungs = units.shape
    step = stock / cells
    table = np.zeros((weeks + 1, rungs, cells + 1, draws))
    for w in range(weeks - 1, -1, -1):
        for d in range(draws):
            for s in range(cells + 1):
                running = -np.inf
                top = -np.inf
                for k in range(rungs):
                    sold = min(units[d, w, k], s * step)
                    rest = min(s, int(np.ceil((s * step - sold) / step - 1e-12))) if step > 0 else 0
                    worth = max(margin[k], 0.0) * sold + table[w + 1, k, rest, d]
                    running = max(running, worth)
                    top = max(top, worth)
                    table[w, k, s, d] = running
                if not falling:
                    for k in range(rungs):
                        table[w, k, s, d] = top
    return table


@compiled()
def sell_path(units: Array, stock: float, weight: Array, path: Array, sales: Array) -> tuple[float, float]:
    """Fill `sales` (W,) with expected units sold along one path; return expected units left and P(sold out)."""
    left_over, gone = 0.0, 0.0
    for d in range(units.shape[0]):
        left = stock
        for w in range(units.shape[1]):
            sold = min(units[d, w, path[w]], left)
            left -= sold
            sales[w] += weight[d] * sold
        left_over += weight[d] * left
        if left <= 1e-9 * max(stock, 1.0):
            gone += weight[d]
    return left_over, gone


@compiled()
def solve_policy(
    chance: Array, price: Array, salvage: float, falling: bool, pause: int, steps: int, spend: int
) -> Array:
    """Backward recursion over (week, stock, rung in force, weeks it has been held, changes left).

    Args:
        chance: (W, K, S + 1) probability of each demand 0…S-1, and of S or more, by week and rung.
        price: (K,) what a unit sold brings, money, ascending.
        salvage: money per unit left at the end.
        falling: whether prices may only fall.
        pause: least number of weeks from one change to the next, 1 or more.
        steps: most changes.
        spend: 1: a change uses one of them; 0: there is no limit (then `steps` is 0).

    Returns:
        (W + 1, S + 1, K, pause, steps + 1) expected money from week w on.
    """
    weeks, rungs, size = chance.shape
    table = np.zeros((weeks + 1, size, rungs, pause, steps + 1))
    for s in range(size):
        table[weeks, s] = salvage * s
    for w in range(weeks - 1, -1, -1):
        ahead = _look_ahead(chance[w], price, table[w + 1])
        for s in range(size):
            for k in range(rungs):
                for held in range(pause):
                    for left in range(steps + 1):
                        table[w, s, k, held, left] = _best(ahead[s], k, held, left, falling, spend)[0]
    return table


@compiled()
def policy_rungs(chance: Array, price: Array, table: Array, falling: bool, spend: int) -> Array:
    """Read the best rung of every state off the value table: (W, S + 1, K, pause, steps + 1)."""
    weeks, size, rungs, pause, steps = table.shape
    choice = np.zeros((weeks - 1, size, rungs, pause, steps), dtype=np.int64)
    for w in range(weeks - 1):
        ahead = _look_ahead(chance[w], price, table[w + 1])
        for s in range(size):
            for k in range(rungs):
                for held in range(pause):
                    for left in range(steps):
                        choice[w, s, k, held, left] = _best(ahead[s], k, held, left, falling, spend)[1]
    return choice


@compiled()
def _look_ahead(chance: Array, price: Array, later: Array) -> Array:
    """(S + 1, K, pause, steps + 1) expected money when rung k is charged this week and the state after it is (…)."""
    rungs, size = chance.shape
    ahead = np.zeros(later.shape)
    for k in range(rungs):
        for s in range(size):
            beyond = 1.0
            for n in range(s):
                beyond -= chance[k, n]
                ahead[s, k] += chance[k, n] * (price[k] * n + later[s - n, k])
            ahead[s, k] += max(beyond, 0.0) * (price[k] * s + later[0, k])
    return ahead


@compiled()
def _best(ahead: Array, k: int, held: int, left: int, falling: bool, spend: int) -> tuple[float, int]:
    """Value and rung of the best choice with rung k in force for held + 1 weeks (or more) and `left` changes left."""
    pause = ahead.shape[1]
    best, rung = ahead[k, min(held + 1, pause - 1), left], k
    if left >= spend and held == pause - 1:
        for j in range(k if falling else ahead.shape[0]):
            if j != k and ahead[j, 0, left - spend] > best:
                best, rung = ahead[j, 0, left - spend], j
    return best, rung
