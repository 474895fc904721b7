"""Shared by the tests of the engine: a real Spark session."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator

import pytest

from engine.frames import SparkBackend


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkBackend]:
    """A real Spark session on this machine, started once."""
    pyspark = pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Py4J logs from a finaliser, when the test runner has closed its streams already.
    logging.getLogger("py4j").setLevel(logging.WARNING)
    session = (
        pyspark.sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield SparkBackend(session)
    session.stop()
