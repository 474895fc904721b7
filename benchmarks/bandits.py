"""Bandits beside MABWiser: rows decided a second, one decision's time, and regret on steady and drifting problems.

    python -m benchmarks.bandits [--seeds 20] [--pairs 200]

Regret is the expected reward of the best arm less that of the arm chosen, summed over the rounds, learning after every
batch; both sides see the same problems. Exploration is the share of the rounds in which the arm was not the one with
the largest mean so far. What two sides differ by is small beside what problems differ by, so they are compared on pairs
of runs of one problem, many of them. Writes benchmarks/results/bandits.md.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.bandits import (
    BanditDesign,
    BetaThompson,
    Cusum,
    LinearThompson,
    LinearUcb,
    LogisticThompson,
    Ucb,
    decide,
    learn,
    start,
)
from experiments.bandits.policies import LinearSums, Tally

Floats = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
ARMS, FEATURES, BATCH = 10, 20, 10
FIRST = 20
"""Rounds at the start whose arms are drawn evenly, on both sides: MABWiser cannot choose before it has learned."""
ROUNDS = 3_000
Chances = Callable[[np.random.Generator], tuple[Floats, Floats]]


def steady(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(rounds, A) chances that stay, and no context."""
    return np.tile(rng.uniform(0.05, 0.5, ARMS), (ROUNDS, 1)), np.empty((ROUNDS, 0))


def drifting(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(rounds, A) chances that are drawn anew at two thirds of the time: the best arm changes."""
    before, after = rng.uniform(0.05, 0.5, (2, ARMS))
    late = np.arange(ROUNDS)[:, None] >= ROUNDS // 3
    return np.where(late, after[None], before[None]), np.empty((ROUNDS, 0))


def by_context(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(rounds, A) chances linear in a context of five features."""
    context = np.hstack([np.ones((ROUNDS, 1)), rng.uniform(0, 1, (ROUNDS, 4))])
    taste = rng.uniform(0, 0.2, (5, ARMS)) * rng.integers(0, 2, (5, ARMS))
    chance: Floats = np.clip(context @ taste, 0, 1)
    return chance, context


def our_run(design: BanditDesign[Any], problem: Chances, seed: int) -> tuple[float, float]:
    """Regret and exploration of one of ours on one problem."""
    chance, context = problem(np.random.default_rng(seed))
    rng, state, regret, explored = np.random.default_rng([seed, 1]), start(design), 0.0, 0
    for rows in batches():
        size = rows.stop - rows.start
        if rows.start == 0:
            arm = np.arange(size) % ARMS
        else:
            decisions, state = decide(design, state, rng=rng, context=context[rows], rows=size)
            arm = decisions.arm
            explored += _not_greedy(arm, _our_means(state.learned, context[rows]))
        got = chance[rows][np.arange(size), arm]
        reward = (rng.random(size) < got).astype(float)
        at = np.full(size, float(rows.start))
        state = learn(design, state, arm=arm, reward=reward, context=context[rows], at=at)
        regret += float((chance[rows].max(axis=1) - got).sum())
    return regret, explored / (ROUNDS - FIRST)


def _our_means(learned: Any, context: Floats) -> Floats:  # noqa: ANN401 - sums of any policy
    """(rows, A) mean reward so far; of linear policies the estimate for the row; nought where there is neither."""
    if isinstance(learned, Tally):
        return np.tile(learned.mean, (len(context), 1))
    if not isinstance(learned, LinearSums):
        return np.zeros((len(context), ARMS))
    means: Floats = LinearThompson(ARMS, context.shape[1]).belief(learned, context).mean
    return means


def _their_means(bandit: Any, totals: Floats, context: Floats) -> Floats:  # noqa: ANN401
    """The same of one of MABWiser's; `totals` are (2, A) plays and rewards so far."""
    if context.shape[1] == 0:
        return np.tile(totals[1] / totals[0], (len(context), 1))
    weights = np.array([bandit._imp.arm_to_model[one].beta for one in range(ARMS)])
    means: Floats = context @ weights.T
    return means


def _not_greedy(arm: npt.NDArray[Any], means: Floats) -> int:
    """Rows whose arm had not the largest mean; a tie is no exploration."""
    return int((means[np.arange(len(arm)), arm] < means.max(axis=1) - 1e-12).sum())


def batches() -> list[slice]:
    """The first rounds, then batches."""
    return [slice(0, FIRST), *(slice(first, first + BATCH) for first in range(FIRST, ROUNDS, BATCH))]


def their_run(policy: Any, problem: Chances, seed: int, *, apart: bool = False) -> tuple[float, float]:  # noqa: ANN401
    """Regret and exploration of one of MABWiser's on the same problem.

    `apart` gives each arm of a linear policy a stream of chance of its own: MABWiser copies one into all of them, so
    that their draws correlate by .99 and the best estimate nearly always wins.
    """
    from mabwiser.mab import MAB

    chance, context = problem(np.random.default_rng(seed))
    rng, regret, explored = np.random.default_rng([seed, 1]), 0.0, 0
    bandit, totals = MAB(list(range(ARMS)), policy, seed=seed), np.zeros((2, ARMS))
    seen = context.shape[1] > 0
    for rows in batches():
        size = rows.stop - rows.start
        if rows.start == 0:
            arm = np.arange(size) % ARMS
        else:
            arm = np.array(bandit.predict(context[rows]) if seen else [bandit.predict() for _ in range(size)])
            explored += _not_greedy(arm, _their_means(bandit, totals, context[rows]))
        got = chance[rows][np.arange(size), arm]
        reward = (rng.random(size) < got).astype(int)
        teach = bandit.fit if rows.start == 0 else bandit.partial_fit
        teach(arm, reward, context[rows]) if seen else teach(arm, reward)
        totals += np.stack([np.bincount(arm, weights, ARMS) for weights in (np.ones(size), reward)])
        if apart and rows.start == 0:
            for one, model in bandit._imp.arm_to_model.items():
                model.rng = type(model.rng)(1_000 * seed + one)
        regret += float((chance[rows].max(axis=1) - got).sum())
    return regret, explored / (ROUNDS - FIRST)


def contenders() -> dict[str, tuple[Chances, dict[str, BanditDesign[Any]], dict[str, Any]]]:
    """Problems, with our designs and MABWiser's policies for each, at equal exploration parameters."""
    from mabwiser.mab import LearningPolicy as Theirs

    plain = {
        "Thompson": Theirs.ThompsonSampling(),
        "UCB1 (.5)": Theirs.UCB1(alpha=0.5),
        "UCB1 (.25)": Theirs.UCB1(alpha=0.25),
        "ε-greedy (.1)": Theirs.EpsilonGreedy(epsilon=0.1),
        "ε-greedy (.05)": Theirs.EpsilonGreedy(epsilon=0.05),
    }
    thompson = BetaThompson(ARMS)
    ours: dict[str, BanditDesign[Any]] = {
        "Thompson": BanditDesign(thompson),
        "UCB1 (.5)": BanditDesign(Ucb(ARMS, width=0.5)),
        "UCB1 (.25)": BanditDesign(Ucb(ARMS, width=0.25)),
    }
    forgetful: dict[str, BanditDesign[Any]] = {
        "Thompson, half-life 500": BanditDesign(thompson, half_life=500.0),
        "Thompson, change detection": BanditDesign(thompson, change=Cusum(reference=50)),
    }
    linear: dict[str, BanditDesign[Any]] = {
        "LinUCB (.5)": BanditDesign(LinearUcb(ARMS, 5, width=0.5)),
        "LinUCB (.25)": BanditDesign(LinearUcb(ARMS, 5, width=0.25)),
        "LinTS (.5)": BanditDesign(LinearThompson(ARMS, 5, width=0.5)),
        "LinTS (.25)": BanditDesign(LinearThompson(ARMS, 5, width=0.25)),
        "LinTS (.12)": BanditDesign(LinearThompson(ARMS, 5, width=0.12)),
        "logistic Thompson": BanditDesign(LogisticThompson(ARMS, 5)),
    }
    their_linear = {
        "LinUCB (.5)": Theirs.LinUCB(alpha=0.5),
        "LinUCB (.25)": Theirs.LinUCB(alpha=0.25),
        "LinTS (.5)": Theirs.LinTS(alpha=0.5),
        "LinTS (.25)": Theirs.LinTS(alpha=0.25),
        "LinTS (.12)": Theirs.LinTS(alpha=0.12),
    }
    return {
        "steady": (steady, ours, plain),
        "drifting": (drifting, {**ours, **forgetful}, plain),
        "by context": (by_context, linear, their_linear),
    }


def regrets(seeds: int) -> list[str]:
    """Markdown rows of mean regret with standard errors."""
    rows = []
    for problem, (chances, ours, theirs) in contenders().items():
        found = {("Offerwright", name): [our_run(d, chances, s)[0] for s in range(seeds)] for name, d in ours.items()}
        found |= {("MABWiser", name): [their_run(p, chances, s)[0] for s in range(seeds)] for name, p in theirs.items()}
        best = min(np.mean(found["MABWiser", name]) for name in theirs)
        for (side, name), values in sorted(found.items(), key=lambda item: float(np.mean(item[1]))):
            error = np.std(values, ddof=1) / np.sqrt(seeds)
            rows.append(
                f"| {problem} | {side} | {name} | {np.mean(values):.1f} ± {error:.1f} | {np.mean(values) / best:.2f} |"
            )
            print(rows[-1], flush=True)
    return rows


def same_policies(seeds: int) -> list[str]:
    """Markdown rows of the same policy at the same parameter, on the same problems: ratio of the regrets."""
    rows = []
    for problem, (chances, ours, theirs) in contenders().items():
        by_chance = problem != "by context"
        # LinUCB draws nothing: both sides are the same to the last choice, which few problems show.
        pairs = seeds if by_chance else min(seeds, 30)
        for name in sorted(ours.keys() & theirs.keys()) if by_chance else ("LinUCB (.25)", "LinUCB (.5)"):
            mine = np.array([our_run(ours[name], chances, s)[0] for s in range(pairs)])
            other = np.array([their_run(theirs[name], chances, s)[0] for s in range(pairs)])
            rows.append(_ratio_row(problem, name, mine, other))
            print(rows[-1], flush=True)
    return rows


def _ratio_row(problem: str, name: str, mine: Floats, other: Floats) -> str:
    return f"| {problem} | {name} | {mine.mean():.1f} | {other.mean():.1f} | {_ratio(mine, other)} |"


def _ratio(mine: Floats, other: Floats) -> str:
    """Ratio of two means over the same problems, with its standard error (delta method)."""
    ratio = mine.mean() / other.mean()
    error = np.std(mine - ratio * other, ddof=1) / np.sqrt(mine.size) / other.mean()
    return f"{ratio:.3f} ± {error:.3f}"


def best_against_best(seeds: int) -> list[str]:
    """Markdown rows of MABWiser's best policy without a context, and of our UCB1 that explores as much."""
    rows = []
    for problem, (chances, _, theirs) in list(contenders().items())[:2]:
        runs = {name: np.array([their_run(p, chances, s) for s in range(seeds)]) for name, p in theirs.items()}
        name = min(runs, key=lambda one: float(runs[one][:, 0].mean()))
        other = runs[name]
        width = _width_exploring(float(other[:, 1].mean()), lambda w, n, c=chances: _ucb_runs(w, c, n), seeds)
        mine = _ucb_runs(width, chances, seeds)
        sides = [f"{one[:, 1].mean():.1%} | {one[:, 0].mean():.1f}" for one in (other, mine)]
        ratio = _ratio(mine[:, 0], other[:, 0])
        rows.append(f"| {problem} | {seeds} | {name} | {sides[0]} | UCB1 ({width:.3f}) | {sides[1]} | {ratio} |")
        print(rows[-1], flush=True)
    return rows


def _ucb_runs(width: float, problem: Chances, seeds: int) -> Floats:
    """(seeds, 2) regret and exploration of our UCB1."""
    return np.array([our_run(BanditDesign(Ucb(ARMS, width=width)), problem, s) for s in range(seeds)])


def equal_exploration(seeds: int) -> list[str]:
    """Markdown rows of linear Thompson by context: at equal width, MABWiser's arms apart, at equal exploration."""
    from mabwiser.mab import LearningPolicy as Theirs

    rows = []
    for width in (0.12, 0.25, 0.5):
        theirs = Theirs.LinTS(alpha=width)
        sides = {
            "MABWiser": np.array([their_run(theirs, by_context, s) for s in range(seeds)]),
            "MABWiser, arms drawn apart": np.array(
                [their_run(theirs, by_context, s, apart=True) for s in range(seeds)]
            ),
            "Offerwright, equal width": _linear_runs(width, seeds),
        }
        same = _width_exploring(float(sides["MABWiser"][:, 1].mean()), _linear_runs, seeds)
        sides[f"Offerwright, equal exploration (width {same:.3f})"] = _linear_runs(same, seeds)
        other = sides["MABWiser"][:, 0]
        for name, found in sides.items():
            error = np.std(found[:, 0], ddof=1) / np.sqrt(seeds)
            rows.append(
                f"| {width:g} | {name} | {found[:, 1].mean():.1%} | {found[:, 0].mean():.1f} ± {error:.1f} | "
                f"{found[:, 0].mean() / other.mean():.2f} |"
            )
            print(rows[-1], flush=True)
    return rows


def _linear_runs(width: float, seeds: int) -> Floats:
    """(seeds, 2) regret and exploration of our linear Thompson."""
    design = BanditDesign(LinearThompson(ARMS, 5, width=width))
    return np.array([our_run(design, by_context, s) for s in range(seeds)])


def _width_exploring(share: float, runs: Callable[[float, int], Floats], seeds: int) -> float:
    """Width at which ours explores in this share of the rounds, by bisection; exploration grows with it."""
    low, high = 1e-3, 1.0
    for _ in range(8):
        middle = float(np.sqrt(low * high))
        if runs(middle, min(seeds, 40))[:, 1].mean() < share:
            low = middle
        else:
            high = middle
    return float(np.sqrt(low * high))


def speeds() -> list[str]:
    """Markdown rows of rows decided a second in batches, and one decision's time, processor seconds."""
    from mabwiser.mab import MAB, LearningPolicy

    rng = np.random.default_rng(1)
    context = rng.normal(size=(100_000, FEATURES))
    arm, reward = rng.integers(0, ARMS, 5_000), rng.normal(size=5_000)
    design = BanditDesign(LinearThompson(ARMS, FEATURES))
    state = learn(design, start(design), arm=arm, reward=reward, context=context[:5_000])
    theirs = MAB(list(range(ARMS)), LearningPolicy.LinTS(alpha=1.0), seed=1)
    theirs.fit(arm, reward, context[:5_000])
    ours_batch = _rate(lambda: decide(design, state, rng=rng, context=context), len(context), 5)
    theirs_batch = _rate(lambda: theirs.predict(context[:20_000]), 20_000, 2)
    single = _singles(lambda i: decide(design, state, rng=rng, context=context[i : i + 1]), 5_000)
    their_single = _singles(lambda i: theirs.predict(context[i : i + 1]), 500)
    decisions, _ = decide(design, state, rng=rng, context=context[:2_000])
    exact = _rate(decisions.probabilities, 2_000, 2)
    size = f"{ARMS} arms × {FEATURES} features"
    return [
        f"| LinTS, {size}, rows a second in batches | {ours_batch:,.0f} | {theirs_batch:,.0f} |",
        f"| one decision, ms, median / 99th percentile | {single[0]:.2f} / {single[1]:.2f} | "
        f"{their_single[0]:.2f} / {their_single[1]:.2f} |",
        f"| exact propensities of every arm, rows a second | {exact:,.0f} | not offered |",
    ]


def _rate(work: Callable[[], object], rows: int, times: int) -> float:
    work()
    taken = []
    for _ in range(times):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return rows / float(np.median(taken))


def _singles(work: Callable[[int], object], times: int) -> tuple[float, float]:
    """Median and 99th percentile, ms of this thread's processor time: other work on the machine does not count."""
    taken = []
    for i in range(times):
        begun = time.thread_time()
        work(i)
        taken.append(time.thread_time() - begun)
    return float(np.percentile(taken, 50) * 1e3), float(np.percentile(taken, 99) * 1e3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="problems of each kind")
    parser.add_argument("--pairs", type=int, default=200, help="problems on which two sides are compared")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    text = [
        "# Bandits beside MABWiser",
        "",
        f"`python -m benchmarks.bandits --seeds {asked.seeds} --pairs {asked.pairs}`, one thread, seeds from 0.",
        f"Regret: {ROUNDS:,} rounds, {ARMS} arms,",
        f"learning after every {BATCH} rounds; mean over {asked.seeds} problems ± its standard error, and its ratio to",
        "MABWiser's best, over all widths (in brackets). The tables below compare at equal exploration.",
        "",
        "| what | Offerwright | MABWiser |",
        "| --- | --- | --- |",
        *speeds(),
        "",
        "| problem | whose | policy | regret | ÷ MABWiser's best |",
        "| --- | --- | --- | --- | --- |",
        *regrets(asked.seeds),
        "",
        f"The same policy at the same parameter, on the same {asked.pairs:,} problems (± standard error of the ratio):",
        "",
        "| problem | policy | Offerwright | MABWiser | ratio |",
        "| --- | --- | --- | --- | --- |",
        *same_policies(asked.pairs),
        "",
        "Best against best at equal exploration, on the first of them: MABWiser's best of the policies above, and our",
        "UCB1 with the width that explores in the same share of the rounds.",
        "",
        "| problem | problems | MABWiser's best | exploration | regret | Offerwright | exploration | regret | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *best_against_best(asked.pairs // 4),
        "",
        "Linear Thompson by context. MABWiser 2.7 gives all arms one stream of chance, so that their draws correlate",
        "by .99 and it explores less than its posterior asks for; ours are independent. So it is shown at equal width,",
        "with MABWiser's arms drawn apart, and at equal exploration: the share of the rounds in which the arm was not",
        "the one with the largest estimated mean.",
        "",
        "| MABWiser's width | whose | exploration | regret | ÷ MABWiser as it is |",
        "| --- | --- | --- | --- | --- |",
        *equal_exploration(asked.seeds),
        "",
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bandits.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
