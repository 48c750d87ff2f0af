"""A deployed run whose process is killed in the middle: it is put back, and what was answered is not paid for again."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.processes import list_processes
from tests.acceptance.site import Site
from tests.acceptance.waiting import wait_for
from tests.fakes.provider import Scripted

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

_FLOW, _WATCH = "route-banking-query/nightly", "watch-nights/every-five-minutes"
_SOURCE, _WORDS = "killed.csv", "where is my card"
_N_ROWS, _N_IN_FLIGHT = 24, 16
#: The provider answers so many, and then none until the process is gone.
_N_ANSWERED = 5


@pytest.fixture
def killed(site: Site) -> Iterator[str]:
    """The flow run of a night whose process was killed with calls in flight; the provider answers again."""
    (site.project.folder / _SOURCE).write_text("text\n" + "".join(f"{_WORDS} {n}?\n" for n in range(_N_ROWS)))
    n_asked, holding, gone = itertools.count(), threading.Event(), threading.Event()
    answer = site.provider.answer

    def hold(body: dict[str, Any]) -> dict[str, Any] | Scripted:
        if _WORDS not in str(body):
            return answer(body)
        n = next(n_asked)
        intent = ("card_arrival", "card_linking", "lost_or_stolen_card")[n % 3]
        said = {"intent": intent, "confidence": 0.9, "evidence": _WORDS}
        if n < _N_ANSWERED or gone.is_set():
            return said
        holding.set()
        return Scripted(text=json.dumps(said), delay_s=60)

    site.provider.answer = hold
    sink = f"file:{site.project.folder}/out/killed.jsonl"
    flow_run_id = site.api.start_run(_FLOW, {"source": _SOURCE, "model": "openai:fake-model", "sink": sink})
    try:
        assert holding.wait(120), site.api.get_state(flow_run_id)
        pids = list_processes(f"PREFECT__FLOW_RUN_ID={flow_run_id}")
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        gone.set()
        yield flow_run_id
    finally:
        site.provider.answer = answer


def test_a_killed_run_is_put_back_and_pays_for_nothing_that_was_answered(site: Site, killed: str) -> None:
    wait_for(lambda: site.api.get_state(killed) == "Crashed", "Prefect to hear of it", timeout_s=60)
    run_id = site.api.get_run_id(killed)
    found = site.project.find_run(run_id)
    assert (found["state"], found["lost"]) == ("running", True)

    watch = site.api.start_run(_WATCH, {})
    site.api.wait_for_state(watch, "Completed")
    wait_for(lambda: site.api.get_state(killed) == "Suspended", "the run to come to its gate", timeout_s=150)
    found = site.project.find_run(run_id)
    assert (found["state"], found["lost"], found["accepted"]) == ("waiting", False, _N_ROWS)
    n_calls = sum(_WORDS in str(call.body) for call in site.provider.calls)
    # What was in flight when it was killed may have been paid for, and is asked again; nothing else is.
    assert _N_ROWS <= n_calls <= _N_ROWS + _N_IN_FLIGHT
