"""The same reading from DuckDB, PostgreSQL and Spark: the same code, the same figures."""

import os

import duckdb
import pandas as pd
import pytest
from experiment_tables import START, UNTIL, clean_logs, small_table

from experiments.measure import (
    Condition,
    Logs,
    Lookback,
    Metric,
    Profit,
    Quantile,
    Ratio,
    Retention,
    Units,
    Window,
    Winsorise,
    analyse_logs,
    analyse_units,
    duckdb_warehouse,
    postgresql_warehouse,
    spark_warehouse,
)

POSTGRESQL = os.environ.get("OFFERWRIGHT_TEST_POSTGRESQL")


def tables():
    exposures, outcomes = clean_logs()
    exposures["autumn"] = pd.array([None, 0, 1] * 100, dtype="Int64")
    outcomes.loc[3, "items"] = None
    both = exposures.tail(1).assign(variant=1 - exposures.variant.tail(1))
    units = small_table(400)
    units["house"] = (units.index // 4) * 2 + units.variant
    return {"shown": pd.concat([exposures, both]), "came": outcomes, "units": units}


def in_duckdb():
    connection = duckdb.connect(config={"threads": 2})
    for name, frame in tables().items():
        connection.register(name, frame)
    return duckdb_warehouse(connection)


METRICS = [
    Metric("revenue", "revenue", covariate=Lookback(14 * 24)),
    Profit("profit", "revenue", winsorise=Winsorise(high=0.95, ignore_zeros=True)),
    Ratio("basket", "revenue", denominator="items", missing="exclude"),
    Metric("app", "revenue", where=(Condition("channel", "=", "app"),), margin=0.2),
    Metric("filled", "items", missing="zero"),
    Retention("back", "revenue", window=Window(24, 48)),
    Quantile("q", "revenue", level=0.6),
]


def read_logs(warehouse, metrics=METRICS, **rest):
    logs = Logs(
        warehouse,
        "shown",
        "came",
        experiment="spring",
        until=UNTIL.to_pydatetime(),
        started=START.to_pydatetime(),
        **rest,
    )
    return analyse_logs(logs, metrics, trend_days=5 if rest else 0)


ALL = {"segments": ("region",), "earlier": ("autumn",)}


def read_units(warehouse):
    units = Units(warehouse, "units", cluster="house", stratum=None, segments=("store",))
    metrics = [Metric("spend", "spend", covariate="habit"), Quantile("median", "spend")]
    return analyse_units(units, metrics)


def effects(reading):
    return [*reading.effects, *(line.effect for b in reading.breakdowns for line in b.effects)]


def words(effect):
    return effect.metric, effect.variant, effect.decision, effect.guardrail, effect.control_count


def numbers(effect):
    return effect.estimate, effect.low, effect.high, effect.p_value, effect.relative, effect.error


def alike(reading, expected):
    """The same up to the last bits: engines round halves and keep seconds differently."""
    assert reading.counts == expected.counts
    assert [(c.name, c.verdict) for c in reading.checks] == [(c.name, c.verdict) for c in expected.checks]
    assert [e.count for e in reading.exclusions] == [e.count for e in expected.exclusions]
    assert [r.reason for r in reading.refused] == [r.reason for r in expected.refused]
    assert reading.trend.keys() == expected.trend.keys()
    for found, wanted in zip(effects(reading), effects(expected), strict=True):
        assert words(found) == words(wanted)
        assert numbers(found) == pytest.approx(numbers(wanted), rel=1e-9, abs=1e-12)


def test_duckdb_reads_every_kind_of_metric():
    reading = read_logs(in_duckdb(), **ALL)
    assert {effect.metric for effect in reading.effects} == {metric.name for metric in METRICS}
    assert reading.refused == ()
    assert len(read_units(in_duckdb()).effects) == 2


@pytest.mark.postgresql
def test_postgresql_reads_the_same():
    if POSTGRESQL is None:
        pytest.skip("no PostgreSQL server at OFFERWRIGHT_TEST_POSTGRESQL")
    import psycopg

    with psycopg.connect(POSTGRESQL.replace("+psycopg", ""), autocommit=True) as connection:

        def execute(sql):
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

        for name, frame in tables().items():
            load(connection, name, frame)
        warehouse = postgresql_warehouse(execute)
        alike(read_logs(warehouse, **ALL), read_logs(in_duckdb(), **ALL))
        alike(read_units(warehouse), read_units(in_duckdb()))


KINDS = {"i": "BIGINT", "I": "BIGINT", "f": "DOUBLE PRECISION", "M": "TIMESTAMP"}


def load(connection, name, frame):
    columns = ", ".join(f'"{c}" {KINDS.get(frame[c].dtype.kind, "TEXT")}' for c in frame.columns)
    connection.execute(f"CREATE TEMPORARY TABLE {name} ({columns})")
    with connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
        for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False):
            copy.write_row(row)


@pytest.mark.spark
def test_spark_reads_the_same(spark, tmp_path):
    for name, frame in tables().items():
        path = tmp_path / f"{name}.parquet"
        frame.astype({c: "datetime64[us]" for c in frame.columns if frame[c].dtype.kind == "M"}).to_parquet(path)
        spark.session.read.parquet(str(path)).createOrReplaceTempView(name)
    warehouse = spark_warehouse(spark.session)
    # Every statement is compiled anew there, which takes seconds: one reading, of the metrics with words of their own.
    few = [metric for metric in METRICS if metric.name in ("basket", "back", "profit")]
    alike(read_logs(warehouse, few), read_logs(in_duckdb(), few))
