"""Runs by hand: what `overnight run` prints, pays for, refuses, and keeps when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.project import Done, Project, finish
from tests.acceptance.site import Site
from tests.acceptance.tickets import answer_ticket
from tests.acceptance.waiting import wait_for
from tests.fakes.provider import FakeProvider, Scripted

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

#: Of the 24 sample tickets one has no text and one has another's id.
_N_ROWS, _N_ACCEPTED = 24, 22
_MODEL = ("--model", "openai:fake-model")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider that no other story asks: its endpoint gives every request a key of its own."""
    with FakeProvider(answer_ticket) as fake:
        yield fake


def test_a_run_ends_at_the_gate_with_the_contract_on_its_last_line_and_the_next_one_calls_nobody(
    site: Site, provider: FakeProvider
) -> None:
    base = provider.openai_base_url
    command = ("run", "triage_tickets", *_MODEL, "--sink", "file:out/by-hand.jsonl", "--json")

    first = site.project.run(*command, OPENAI_BASE_URL=base)
    assert first.code == 0, first.err
    assert set(first.summary) == {
        "run_id", "state", "rows", "hits", "calls", "attempts", "accepted", "quarantined", "pending", "held",
        "published", "cost_usd", "input_tokens", "output_tokens", "release", "seconds",
    }  # fmt: skip
    assert first.summary["state"] == "waiting"
    assert len(provider.calls) == first.summary["calls"] == _N_ACCEPTED
    _assert_rows(first.summary)

    again = site.project.run(*command, OPENAI_BASE_URL=base)
    assert again.code == 0, again.err
    assert (again.summary["state"], again.summary["calls"], again.summary["hits"]) == ("waiting", 0, _N_ACCEPTED)
    assert len(provider.calls) == _N_ACCEPTED
    assert not (site.project.folder / "out/by-hand.jsonl").exists()


def _assert_rows(summary: dict[str, Any]) -> None:
    counts = (summary["rows"], summary["accepted"], summary["quarantined"], summary["pending"], summary["published"])
    assert counts == (_N_ROWS, _N_ACCEPTED, _N_ROWS - _N_ACCEPTED, 0, 0)


def test_bad_input_is_one_line_on_standard_error_and_an_exit_code(site: Site, provider: FakeProvider) -> None:
    (site.project.folder / "no-body.csv").write_text("ticket_id,subject\nT-1,Where is it\n")
    tickets, base = ("run", "triage_tickets", "--json"), provider.openai_base_url
    started = {
        "nowhere.csv": site.project.start(*tickets, *_MODEL, "--source", "nowhere.csv", OPENAI_BASE_URL=base),
        "body": site.project.start(*tickets, *_MODEL, "--source", "no-body.csv", OPENAI_BASE_URL=base),
        "water_plants": site.project.start("run", "water_plants", *_MODEL, OPENAI_BASE_URL=base),
        "nobody:fake-model": site.project.start(*tickets, "--model", "nobody:fake-model", OPENAI_BASE_URL=base),
        "OPENAI_API_KEY": site.project.start(*tickets, *_MODEL, OPENAI_API_KEY=None, OPENAI_BASE_URL=None),
    }
    for named, process in started.items():
        _assert_refused(finish(process), named)
    assert not provider.calls


def _assert_refused(done: Done, named: str) -> None:
    said = [line for line in done.err.splitlines() if line.startswith("overnight:")]
    assert done.code not in (0, None), named
    assert len(said) == 1, done.err
    assert named in said[0]
    assert "Traceback" not in done.err + done.out


def test_a_run_that_is_killed_is_taken_up_where_it_was(site: Site, provider: FakeProvider) -> None:
    provider.answer = lambda body: Scripted(text=json.dumps(answer_ticket(body)), delay_s=0.4)
    n_in_flight = 4
    process = _start_tickets(site.project, provider, n_in_flight)
    wait_for(lambda: len(provider.calls) >= 2 * n_in_flight, "half of the calls")
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL
    n_before = len(provider.calls)
    assert n_before < _N_ACCEPTED

    again = finish(_start_tickets(site.project, provider, n_in_flight))
    assert again.code == 0, again.err
    assert (again.summary["state"], again.summary["accepted"]) == ("waiting", _N_ACCEPTED)
    n_calls = Counter(call.raw for call in provider.calls)
    assert len(n_calls) == _N_ACCEPTED
    assert sum(n - 1 for n in n_calls.values()) <= n_in_flight
    assert again.summary["hits"] >= n_before - n_in_flight


def test_a_run_that_is_killed_while_it_waits_beside_somebody_is_published_once_after_its_review(
    site: Site, provider: FakeProvider
) -> None:
    n_rows = 12
    options = ("--wait", "--limit", str(n_rows), "--sink", "file:out/paused.jsonl", "--json")
    process = site.project.start("run", "triage_tickets", *_MODEL, *options, OPENAI_BASE_URL=provider.openai_base_url)
    assert process.stderr is not None
    run_id = process.stderr.readline().split()[1]
    wait_for(lambda: site.project.read_state(run_id) == "waiting", "the run to wait")
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL

    items, seeds = site.project.read_items(run_id), site.project.find_seeds(run_id)
    verdicts = {str(i["item"]): "wrong" if i["item"] in seeds else "correct" for i in items}
    done = site.project.review(run_id, {"decision": "release", "items": verdicts}, "Ada", name="paused.json")
    assert done.code == 0, done.err
    assert (done.summary["state"], done.summary["published"]) == ("released", n_rows)
    rows = [json.loads(line)["row_id"] for line in (site.project.folder / "out/paused.jsonl").read_text().splitlines()]
    assert len(rows) == len(set(rows)) == len(provider.calls) == n_rows
    assert set(rows) >= {i["row_id"] for i in items}


def _start_tickets(project: Project, provider: FakeProvider, n_in_flight: int) -> subprocess.Popen[str]:
    options = ("--concurrency", str(n_in_flight), "--sink", "file:out/killed.jsonl", "--json")
    return project.start("run", "triage_tickets", *_MODEL, *options, OPENAI_BASE_URL=provider.openai_base_url)
