"""Telemetry that is asked for and cannot work, as a flow has it."""

from __future__ import annotations

import pytest

from tests.flows.conftest import Project


def test_telemetry_that_cannot_work_is_one_line_in_the_log_and_the_run_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
    ended = project.run("night-1")
    assert (ended.name, ended.summary.accepted) == ("COMPLETED Waiting", 3)
    [line] = [record.getMessage() for record in caplog.records if "OTEL_" in record.getMessage()]
    assert line.startswith("OTEL_EXPORTER_OTLP_ENDPOINT is not an http(s) address: no telemetry is exported.")
