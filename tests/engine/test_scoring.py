"""Scoring rows on Spark gives what scoring them here gives, to the last digit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from level_panels import promoted

from engine.coupon_response.effect import Effect, make_basis, offer_design
from engine.demand.level import fit_level, history_of, predict
from engine.demand.level_features import Wanted, build_design
from engine.demand.level_plan import plan_of
from engine.errors import DataError
from engine.scoring import EXPECTED, OFFSET, ResponseScorer, demand_scorer, score_table
from engine.settings import load_settings

quiet = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")


@pytest.fixture(scope="module")
def fitted():
    panel, _ = promoted(1, products=40, weeks=50)
    return panel, fit_level(panel, load_settings(None, ["demand.trees=30", "data.threads=1"]), horizon=4, seed=1)


def rows_of(panel, model):
    """Rows of the last weeks, and what the model says of them."""
    history, plan, targets = history_of(model, panel), plan_of(panel), np.arange(45, 50)
    design = build_design(history, plan, targets, 1, Wanted(model.names))
    table = pd.DataFrame(design.values.astype(float), columns=list(model.names))
    table[OFFSET], table[EXPECTED] = design.offset, design.expected
    table["row"] = np.arange(len(table))
    return table, predict(model, history, plan, targets, 1).ravel()


def test_a_scorer_is_the_model(fitted):
    table, expected = rows_of(*fitted)
    scorer = demand_scorer(fitted[1])
    np.testing.assert_array_equal(scorer.score(table[list(scorer.inputs)].to_numpy())[:, 0], expected)


@pytest.mark.spark
@quiet
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_demand_and_response_are_scored_on_spark_as_here(fitted, spark):
    table, expected = rows_of(*fitted)

    def there(rows):  # through Arrow: PySpark's road through pandas warns with pandas 3
        return spark.session.createDataFrame(pa.Table.from_pandas(rows, preserve_index=False))

    scored = score_table(there(table).repartition(3), demand_scorer(fitted[1]), ["row"])
    found = scored.toArrow().to_pandas().sort_values("row")
    np.testing.assert_array_equal(found["units"].to_numpy(), expected)
    rng = np.random.default_rng(2)
    basis = make_basis(np.array([0.0, 1.0, 4.0]))
    features = rng.normal(size=(50, 3))
    width = offer_design(basis, features, 1).shape[1]
    scorer = ResponseScorer(
        ("a", "b", "c"), ("", "one", "four"), Effect(basis, rng.normal(size=width), np.eye(width), {})
    )
    customers = pd.DataFrame(features, columns=["a", "b", "c"]).assign(customer_id=[f"c{i:02d}" for i in range(50)])
    scored = score_table(there(customers).repartition(2), scorer, ["customer_id"]).toArrow().to_pandas()
    scored = scored.sort_values("customer_id")[["one", "four"]].to_numpy()
    np.testing.assert_allclose(scored, scorer.score(features), rtol=1e-12)
    with pytest.raises(DataError, match="lacks c;"):
        score_table(there(customers.drop(columns="c")), scorer, ["customer_id"])
