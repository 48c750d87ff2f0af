"""The doctor's round, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from overnight import only_hosts
from overnight.cli.doctor.finding import Finding, fail
from overnight.cli.doctor.here import look_at_clocks, look_at_home, look_at_notices, look_at_versions
from overnight.cli.doctor.ledger import look_at_ledger
from overnight.cli.doctor.models import look_at_models, look_at_prompts
from overnight.cli.doctor.server import look_at_prefect
from overnight.cli.doctor.shared import look_at_dask, look_at_place
from overnight.cli.show import print_json
from overnight.failures import OvernightError
from overnight.settings import Settings

_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def examine(*, probes: bool, as_json: bool) -> int:
    """Look at everything and tell; 1 where something fails."""
    findings = []
    for finding in _go_round(probes=probes):
        findings.append(finding)
        if not as_json:
            _show(finding)
    n_failed = sum(finding.level == "fail" for finding in findings)
    if as_json:
        print_json({"ok": n_failed == 0, "findings": [asdict(finding) for finding in findings]})
    else:
        n_warned = sum(finding.level == "warn" for finding in findings)
        click.echo(f"{len(findings)} things looked at: {n_failed} fail, {n_warned} may go wrong.")
    return 1 if n_failed else 0


def _go_round(*, probes: bool) -> Iterator[Finding]:
    yield from look_at_versions()
    try:
        settings = Settings.from_env()
        only_hosts.install(settings.only_hosts)
    except OvernightError as error:
        yield fail("settings", str(error), "")
        return
    yield from look_at_home(settings)
    finding, ledger_ahead_s = look_at_ledger(settings)
    yield finding
    yield from look_at_place(settings)
    yield from look_at_dask(settings)
    findings, prompts = look_at_prompts()
    yield from findings
    yield from look_at_models(prompts, settings, probes=probes)
    found, server_ahead_s = look_at_prefect(settings, prompts)
    yield from found
    yield from look_at_clocks({"Prefect's server": server_ahead_s, "the ledger's database": ledger_ahead_s})
    yield from look_at_notices(settings)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.level]
    said, remedy = (" ".join(text.split()) for text in (finding.said, finding.remedy))
    click.echo(f"{click.style(mark, fg=colour)}  {finding.what}: {said}")
    if remedy:
        click.echo(f"      {remedy}")
