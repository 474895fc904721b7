"""What an experiment earned: effects, valid intervals, decisions, and whether to believe them.

    from experiments.measure import Metric, Ratio, analyse

    reading = analyse(table, [Metric("revenue", "revenue", covariate="revenue_before")], unit="customer_id")
    reading.effects[0].decision, reading.trustworthy

The road of a reading, from the database to the decision:

    metrics.py     what is compared, declared as data
    logs.py        exposures and outcomes as units in the database
    tables.py      a data frame as units
    units.py       the rows that take part, one for each randomised unit
    components.py  each metric as SQL, bad values refused, excluded or counted as zero
    cupac.py       a covariate predicted by XGBoost, cross-fitted, written as SQL
    clusters.py    rows summed by the cluster that was randomised
    sums.py        moments of all metrics in one or two scans, exact whatever the order of rows
    quantiles.py   quantiles, and how sure they are
    effects.py     effects, decisions
    breakdowns.py  effects by segment
    modifiers.py   effects along a number
    trend.py       effects by day since exposure
    trust.py       the checks of the package trust
    replay.py      the same metrics on splits that mean nothing: does the method keep its promise on these data
    analyse.py     all of it in order
    reading.py     the records that come out
    warehouse.py   DuckDB, PostgreSQL, Spark
"""

from experiments.measure.analyse import analyse, analyse_logs, analyse_units
from experiments.measure.logs import Logs
from experiments.measure.metrics import (
    Condition,
    Lookback,
    Metric,
    Predicted,
    Profit,
    Proportion,
    Quantile,
    Ratio,
    Retention,
    Window,
    Winsorise,
    metric_from,
)
from experiments.measure.reading import Analysis, Breakdown, Effect, Exclusion, Modification, Refusal, SegmentEffect
from experiments.measure.replay import Replay, replay
from experiments.measure.units import Units
from experiments.measure.warehouse import Warehouse, duckdb_warehouse, postgresql_warehouse, spark_warehouse
from experiments.sequential import AnalysisPlan
from experiments.statistics.posterior import Prior

__all__ = [
    "Analysis",
    "AnalysisPlan",
    "Breakdown",
    "Condition",
    "Effect",
    "Exclusion",
    "Logs",
    "Lookback",
    "Metric",
    "Modification",
    "Predicted",
    "Prior",
    "Profit",
    "Proportion",
    "Quantile",
    "Ratio",
    "Refusal",
    "Replay",
    "Retention",
    "SegmentEffect",
    "Units",
    "Warehouse",
    "Window",
    "Winsorise",
    "analyse",
    "analyse_logs",
    "analyse_units",
    "duckdb_warehouse",
    "metric_from",
    "postgresql_warehouse",
    "replay",
    "spark_warehouse",
]
