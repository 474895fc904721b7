"""Shared by all tests: a skip is only tolerated where a developer's machine lacks a part; CI has them all."""

from __future__ import annotations

import os

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
