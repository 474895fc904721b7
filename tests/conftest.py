"""Shared by all tests: a skip is only tolerated where a developer's machine lacks a part; CI has them all."""

from __future__ import annotations

import logging
import os
import sys

import pytest


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    if os.environ.get("OFFERWRIGHT_TEST_NO_SKIP") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("A test was skipped although OFFERWRIGHT_TEST_NO_SKIP is set.", red=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("OFFERWRIGHT_TEST_NO_SKIP"):
        report.outcome = "failed"


@pytest.fixture(scope="session")
def spark():
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
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    from engine.frames import SparkBackend

    yield SparkBackend(session)
    session.stop()
