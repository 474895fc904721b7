"""CUPAC and the A/A replay: what a model and random splits add to a reading."""

import hashlib

import duckdb
import numpy as np
import pandas as pd
import pytest
from experiment_tables import small_table

from engine.errors import ProblemError
from experiments.measure import (
    Metric,
    Predicted,
    Profit,
    Quantile,
    Ratio,
    Units,
    analyse,
    duckdb_warehouse,
    replay,
)
from experiments.measure.cupac import _learn


def bent_table(n=4_000, seed=1):
    """Spending that bends and jumps with two habits: no straight line explains it, a few trees do."""
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(-2, 2, n), rng.uniform(-2, 2, n)
    spend = 10 + 3 * first**2 + 4 * (second > 0.5) * first + rng.normal(0, 1, n)
    units = pd.DataFrame({"user": np.arange(n), "variant": np.arange(n) % 2, "first": first, "second": second})
    return units.assign(spend=spend)


LEARNT = Metric("m", "spend", covariate=Predicted(("first", "second")))


def test_a_learnt_covariate_explains_what_a_line_cannot():
    units = bent_table()
    line = analyse(units, [Metric("m", "spend", covariate="first")]).effects[0]
    learnt = analyse(units, [LEARNT], unit="user").effects[0]
    assert line.variance_ratio > 0.8
    assert learnt.variance_ratio < 0.25
    assert learnt.decision == "undecided"


def test_the_same_units_give_the_same_bytes_in_any_order():
    units = bent_table(1_000)
    assert analyse(units, [LEARNT], unit="user") == analyse(units.sample(frac=1, random_state=2), [LEARNT], unit="user")


def test_the_trees_say_in_sql_what_they_say_in_xgboost():
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(3)
    features = rng.normal(0, 1, (400, 2)).astype(np.float32).astype(np.float64)
    features[::7, 0] = np.nan
    outcome = np.nan_to_num(features[:, 0]) * features[:, 1] + rng.normal(0, 0.1, 400)
    trees = _learn(features, outcome)
    frame = pd.DataFrame({"a": features[:, 0], "b": features[:, 1]})
    connection = duckdb.connect()
    connection.register("units", frame)
    columns = ["CASE WHEN NOT ISNAN(a) THEN CAST(a AS REAL) END", "CAST(b AS REAL)"]
    said = connection.execute(f"SELECT {trees.sql(columns)} FROM units").fetchnumpy()  # noqa: S608
    data = xgboost.DMatrix(features, label=outcome)
    settings = {"max_depth": 3, "eta": 0.1, "nthread": 1, "seed": 0, "tree_method": "hist"}
    model = xgboost.train({**settings, "objective": "reg:squarederror"}, data, num_boost_round=60)
    assert next(iter(said.values())) == pytest.approx(model.predict(xgboost.DMatrix(features)), abs=1e-5)


def test_a_model_that_remembers_noise_does_not_move_the_effect():
    """Features that explain nothing: without cross-fitting the trees would explain part of the noise all the same."""
    rng = np.random.default_rng(4)
    units = pd.DataFrame(rng.normal(0, 1, (600, 4)), columns=["spend", "a", "b", "c"])
    units = units.assign(user=np.arange(600), variant=np.arange(600) % 2)
    found = analyse(units, [Metric("m", "spend", covariate=Predicted(("a", "b", "c")))], unit="user").effects[0]
    assert found.variance_ratio == pytest.approx(1.0, abs=0.03)


def test_what_cannot_be_learnt_is_refused():
    units = bent_table(300)
    with pytest.raises(ProblemError, match="identifier"):
        analyse(units, [LEARNT])
    with pytest.raises(ProblemError, match="too few"):
        analyse(units, [LEARNT], unit="user")
    with pytest.raises(ProblemError, match="one feature"):
        Predicted(())


PER_VISIT = Ratio("r", "spend", denominator="visits", covariate=Predicted(("first", "second")))


def visited(n=2_000, seed=5):
    """Spending and visits that both follow the habits, neither along a line."""
    units = bent_table(n, seed)
    rng = np.random.default_rng(seed + 100)
    return units.assign(visits=1.0 + rng.poisson(2 + 2 * (units["first"] > 0) + 3 * (units["second"] ** 2 > 1)))


def learnt_by_hand(units, outcome):
    """Cross-fitted predictions of a column, with XGBoost alone."""
    import xgboost

    code = np.array([hashlib.md5(str(user).encode(), usedforsecurity=False).hexdigest() for user in units["user"]])
    fold, order = np.array([int(one[0], 16) >= 8 for one in code]), np.argsort(code)
    features = units[["first", "second"]].to_numpy(dtype=np.float32)
    said = np.empty(len(units))
    settings = {"max_depth": 3, "eta": 0.1, "nthread": 1, "seed": 0, "tree_method": "hist"}
    for left_out in (False, True):
        rows = order[fold[order] != left_out]
        data = xgboost.DMatrix(features[rows], label=units[outcome].to_numpy()[rows], feature_names=["f0", "f1"])
        model = xgboost.train({**settings, "objective": "reg:squarederror"}, data, num_boost_round=60)
        there = fold == left_out
        said[there] = model.predict(xgboost.DMatrix(features[there], feature_names=["f0", "f1"]))
    return said


def test_a_ratio_with_learnt_covariates_is_what_the_delta_method_says():
    units = visited()
    found = analyse(units, [PER_VISIT], unit="user").effects[0]
    above, below = learnt_by_hand(units, "spend"), learnt_by_hand(units, "visits")
    y, x, arm = (units[name].to_numpy(dtype=float) for name in ("spend", "visits", "variant"))
    linear = (y - y.mean() / x.mean() * x) / x.mean()
    guess = (above - above.mean() / below.mean() * below) / below.mean()
    slope = np.cov(linear, guess)[0, 1] / guess.var(ddof=1)
    sides = []
    for on in (0, 1):
        mine = arm == on
        ratio, foreseen = y[mine].mean() / x[mine].mean(), above[mine].mean() / below[mine].mean()
        left = (y[mine] - ratio * x[mine]) / x[mine].mean()
        left = left - slope * (above[mine] - foreseen * below[mine]) / below[mine].mean()
        sides.append((ratio - slope * foreseen, left.var(ddof=1) / mine.sum()))
    assert found.estimate == pytest.approx(sides[1][0] - sides[0][0], rel=1e-6)
    assert found.error == pytest.approx(np.sqrt(sides[0][1] + sides[1][1]), rel=1e-6)
    assert found.variance_ratio < 0.6


def test_a_ratio_of_clusters_takes_learnt_covariates_too():
    rows = visited(3_000).assign(store=lambda table: table["user"] // 6)
    rows["variant"] = rows["store"] % 2
    plain, learnt = (
        analyse(rows, [Ratio("r", "spend", denominator="visits", covariate=covariate)], cluster="store").effects[0]
        for covariate in (None, Predicted(("first", "second")))
    )
    assert learnt.variance_ratio < 0.6
    assert (learnt.control_count, learnt.control_mean) == (plain.control_count, plain.control_mean)


def historical(frame, **named):
    connection = duckdb.connect(config={"threads": 1})
    connection.register("history", frame)
    return Units(duckdb_warehouse(connection), "history", **named)


def test_splits_that_mean_nothing_are_significant_as_often_as_promised():
    units = historical(small_table(600), unit="user")
    for metric in (Metric("m", "spend", covariate="habit"), Ratio("r", "spend", denominator="visits")):
        found = replay(units, metric, splits=100)
        assert found.splits == 128
        assert found.low < found.rejected < found.high < 0.2
        assert found.z_spread == pytest.approx(1.0, abs=0.2)
        assert found.check.verdict == "passed"
    assert found == replay(units, metric, splits=100)


def test_a_variance_by_the_wrong_unit_is_found_out():
    """Customers are split, rows are read: the rows of a customer move together."""
    customers = small_table(300)
    rows = customers.loc[customers.index.repeat(6)]
    by_row = replay(historical(rows, unit="user"), Metric("m", "spend"), splits=64)
    by_customer = replay(historical(rows, cluster="user"), Metric("m", "spend"), splits=64)
    assert by_row.check.verdict == "broken"
    assert by_row.z_spread > 2.0
    assert by_customer.check.verdict == "passed"
    assert by_customer.z_spread == pytest.approx(1.0, abs=0.3)


def test_a_replay_needs_something_to_split_and_a_metric_it_can_read():
    units = historical(small_table(100))
    with pytest.raises(ProblemError, match="identifier"):
        replay(units, Metric("m", "spend"))
    with pytest.raises(ProblemError, match="replay takes"):
        replay(historical(small_table(100), unit="user"), Quantile("q", "spend"))
    with pytest.raises(ProblemError, match="no unit has a value"):
        history = small_table(100).assign(cost=np.nan)
        replay(historical(history, unit="user"), Profit("p", "spend", cost="cost"))
