"""CUPAC: a covariate that XGBoost predicts from what was known before exposure (Tang et al. 2020).

The model learns on a sample that the database draws, and goes back to it as SQL, so that the units are predicted where
they are. Of a ratio, numerator and denominator are predicted each by itself, and the ratio of the two predictions is
its covariate, by the delta method like the ratio. It is cross-fitted: a unit is predicted by the model that has not
seen its half, so that however well the model remembers, the effect is not touched (Guo, Coey, Konutgan, Li, Schoener
and Goldman 2021).
"""

# ruff: noqa: S608 - names are quoted by the dialect

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from experiments.measure.components import prepare
from experiments.measure.metrics import Metric, Predicted
from experiments.measure.units import KEPT, Inside, Units
from experiments.measure.warehouse import Dialect

Floats = npt.NDArray[np.float64]

FOLDS = 2
SAMPLE_UNITS = 20_000
"""Units that the models learn from; their number bounds time and memory, whatever the size of the table."""
TREES = 60
DEPTH = 3
LEARNING_RATE = 0.1
_FEWEST = 200
"""Units without which nothing is learnt that helps."""

_TABLE = f"{KEPT}_predicted"


def predict_covariates(found: Inside, metrics: Sequence[Metric]) -> tuple[Inside, dict[str, tuple[str, ...]]]:
    """Add a prediction of each metric that asks for one to the rows, and say which columns hold it: two of a ratio.

    Raises:
        ProblemError: there is no identifier to split the units by, or too few units to learn from.
    """
    asked = [metric for metric in metrics if isinstance(metric.covariate, Predicted)]
    if not asked:
        return found, {}
    warehouse, dialect = found.units.warehouse, found.units.warehouse.dialect
    named = list(dict.fromkeys(name for metric in asked for name in metric.feature_columns))
    marked = _marked(found, named)
    # A refused metric is refused again, by name, when all metrics are prepared.
    bare = [replace(metric, covariate=None) for metric in asked]
    ready = {one.metric.name: one.expressions for one in prepare(warehouse, found.relation, bare, {}).ready}
    columns: list[str] = []
    predictions: dict[str, tuple[str, ...]] = {}
    for metric in asked:
        names = []
        for outcome in ready.get(metric.name, ()):
            names.append(dialect.column(f"k_prediction_{len(columns)}"))
            features = [f"k_feature_{named.index(name)}" for name in metric.feature_columns]
            columns.append(f", {_prediction(found, marked, metric.name, features, outcome)} AS {names[-1]}")
        predictions[metric.name] = tuple(names) or (dialect.column(metric.feature_columns[0]),)
    warehouse.keep(_TABLE, f"SELECT m.*{''.join(columns)} FROM {marked} m")
    return replace(found, relation=_TABLE), predictions


def _marked(found: Inside, features: Sequence[str]) -> str:
    """The rows with their fold and their place in the sample, from a hash of what was randomised; and the features.

    These have names of their own, for each stands in hundreds of branches of the trees.
    """
    dialect = found.units.warehouse.dialect
    name = found.units.cluster or found.units.unit
    if name is None:
        raise ProblemError("a predicted covariate needs the unit's identifier to split the units by; name its column")
    code = dialect.hash(dialect.column(name))
    fold = f"CASE WHEN SUBSTR({code}, 1, 1) < '8' THEN 0 ELSE 1 END"
    places = [f"{fold} AS k_fold", f"SUBSTR({code}, 2, 7) AS k_draw", f"{code} AS k_order"]
    places += [f"{_feature(dialect.column(name), dialect)} AS k_feature_{place}" for place, name in enumerate(features)]
    return f"(SELECT r.*, {', '.join(places)} FROM {found.relation} r)"


def _prediction(found: Inside, marked: str, metric: str, features: Sequence[str], outcome: str) -> str:
    """SQL of a metric's prediction: for each fold, the trees that learnt from the other one."""
    dialect = found.units.warehouse.dialect
    # Seven hexadecimal digits below this one: the share of units that makes the sample.
    last = min(16**7, max(1, int(16**7 * SAMPLE_UNITS / max(found.rows, 1))))
    within = "" if last == 16**7 else f" AND k_draw < '{last:07x}'"
    query = (
        f"SELECT k_fold, {', '.join([dialect.number(outcome), *features])} FROM {marked} drawn "
        f"WHERE {outcome} IS NOT NULL{within} ORDER BY k_order"
    )
    rows = np.array(found.units.warehouse.rows(query), dtype=np.float64).reshape(-1, len(features) + 2)
    fold = rows[:, 0].astype(np.int64)
    if min(np.bincount(fold, minlength=FOLDS)) < _FEWEST:
        raise ProblemError(
            f"metric '{metric}': {len(rows)} units are too few to learn a covariate from; at least "
            f"{_FEWEST * FOLDS} are needed, or name a column as covariate"
        )
    cases = []
    for left_out in range(FOLDS):
        trees = _learn(rows[fold != left_out, 2:], rows[fold != left_out, 1])
        cases.append(f"WHEN k_fold = {left_out} THEN {trees.sql(features)}")
    return f"CASE {' '.join(cases)} END"


def _feature(column: str, dialect: Dialect) -> str:
    """A feature in the single precision in which XGBoost compares; what is no number is missing."""
    return f"CASE WHEN {dialect.finite(column)} THEN CAST({column} AS REAL) END"


@dataclass(frozen=True)
class _Trees:
    """A boosted model: the sum of its trees' leaves and a constant."""

    trees: tuple[Mapping[str, Any], ...]
    constant: float

    def sql(self, features: Sequence[str]) -> str:
        """The prediction as an expression."""
        return " + ".join([repr(self.constant), *(_tree_sql(tree, features) for tree in self.trees)])


def _tree_sql(node: Mapping[str, Any], features: Sequence[str]) -> str:
    if "leaf" in node:
        return repr(float(np.float32(node["leaf"])))
    children = {child["nodeid"]: child for child in node["children"]}
    yes, no = (_tree_sql(children[node[answer]], features) for answer in ("yes", "no"))
    threshold = repr(float(np.float32(node["split_condition"])))
    feature = features[int(node["split"][1:])]
    # A missing feature fails either test, so the test is written for the branch that it does not take.
    if node["missing"] == node["yes"]:
        return f"CASE WHEN {feature} >= {threshold} THEN {no} ELSE {yes} END"
    return f"CASE WHEN {feature} < {threshold} THEN {yes} ELSE {no} END"


def _learn(features: Floats, outcome: Floats) -> _Trees:
    """Fit the trees; the same rows give the same model."""
    import xgboost

    names = [f"f{place}" for place in range(features.shape[1])]
    data = xgboost.DMatrix(features, label=outcome, feature_names=names)
    settings = {"max_depth": DEPTH, "eta": LEARNING_RATE, "nthread": 1, "seed": 0, "tree_method": "hist"}
    model = xgboost.train({**settings, "objective": "reg:squarederror"}, data, num_boost_round=TREES)
    constant = json.loads(model.save_config())["learner"]["learner_model_param"]["base_score"]
    trees = tuple(json.loads(tree) for tree in model.get_dump(dump_format="json"))
    return _Trees(trees, float(str(constant).strip("[]")))


def forget_predictions(units: Units) -> None:
    """Drop what `predict_covariates` kept."""
    units.warehouse.execute(units.warehouse.dialect.forget.format(name=_TABLE))
