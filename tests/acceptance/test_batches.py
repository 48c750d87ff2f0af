"""A deployed night in batch mode: no worker is held while the provider has its rows, and the poller has it go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.acceptance.processes import list_processes
from tests.acceptance.review_page import ReviewPage
from tests.acceptance.site import Site
from tests.acceptance.waiting import wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

_NIGHT, _POLLER, _WATCH = (
    "route-banking-query/nightly", "follow-batches/every-five-minutes", "watch-nights/every-five-minutes",
)  # fmt: skip
_SOURCE, _WORDS = "batched.csv", "where is my batch of cards"
_N_ROWS = 24


@dataclass(frozen=True)
class Night:
    """A flow run that is suspended while the provider has its rows, and its run."""

    flow_run_id: str
    run_id: str


@pytest.fixture(scope="module")
def night(site: Site) -> Iterator[Night]:
    """A night in batch mode; its provider batch ends when it is told to."""
    (site.project.folder / _SOURCE).write_text("text\n" + "".join(f"{_WORDS} {n}?\n" for n in range(_N_ROWS)))
    answer = site.provider.answer

    def route(body: dict[str, Any]) -> Any:
        if _WORDS not in str(body):
            return answer(body)
        intents = ("card_arrival", "card_linking", "lost_or_stolen_card")
        return {"intent": intents[len(str(body)) % 3], "confidence": 0.9, "evidence": _WORDS}

    site.provider.answer = route
    site.provider.batches.ends_after = None
    sink = f"file:{site.project.folder}/out/batched.jsonl"
    parameters = {"source": _SOURCE, "model": "openai:fake-model", "sink": sink}
    flow_run_id = site.api.start_run(_NIGHT, parameters, environment={"OVERNIGHT_MODE": "batch"})
    try:
        site.api.wait_for_state(flow_run_id, "Suspended")
        yield Night(flow_run_id, site.api.get_run_id(flow_run_id))
    finally:
        site.provider.answer = answer
        site.provider.batches.ends_after = 0


def _poll(site: Site) -> None:
    """What the schedule does every five minutes."""
    site.api.wait_for_state(site.api.start_run(_POLLER, {}), "Completed")


def _count_online(site: Site) -> int:
    return sum(_WORDS in str(call.body) for call in site.provider.online_calls)


def test_a_night_in_batch_mode_holds_no_process_and_another_flow_run_works_meanwhile(site: Site, night: Night) -> None:
    wait_for(lambda: not list_processes(f"PREFECT__FLOW_RUN_ID={night.flow_run_id}"), "the run's process to end")
    found = site.project.find_run(night.run_id)
    assert (found["state"], found["pending"], found["lost"]) == ("batched", _N_ROWS, False)
    [batch] = site.provider.batches.received
    assert (len(batch.items), _count_online(site)) == (_N_ROWS, 0)

    watching = site.api.start_run(_WATCH, {})
    site.api.wait_for_state(watching, "Completed")
    assert site.api.get_state(night.flow_run_id) == "Suspended"


def test_its_page_shows_state_age_and_share_done(site: Site, night: Night, page: Page) -> None:
    site.provider.batches.progress = 0.5
    _poll(site)
    assert site.api.get_state(night.flow_run_id) == "Suspended"
    artifacts = site.api.list_artifacts(night.flow_run_id)
    table, share = artifacts[f"batches-{night.run_id}"], artifacts[f"batches-done-{night.run_id}"]
    assert f"| {_N_ROWS // 2} of {_N_ROWS} |" in table["data"]
    assert f"50 % of {_N_ROWS} requests, 1 provider batch" in table["description"]
    assert float(share["data"]) == 50.0

    shown = ReviewPage(page, site.api.url.removesuffix("/api"), night.flow_run_id)
    shown.open("Artifacts")
    shown.expect_text(f"50 % of {_N_ROWS} requests")
    shown.save_now("batches.png")
    shown.open_artifact(f"batches-{night.run_id}", table["id"])
    shown.expect_text(f"{_N_ROWS // 2} of {_N_ROWS}")
    shown.save_now("batches-table.png")


def test_somebody_who_resumes_it_too_early_does_no_harm(site: Site, night: Night) -> None:
    assert site.api.resume(night.flow_run_id, {}) == "ACCEPT"
    # From here on it is resuming, so that it was begun where it is suspended again.
    site.api.wait_for_state(night.flow_run_id, "Suspended")
    assert site.project.read_state(night.run_id) == "batched"
    assert (len(site.provider.batches.received), _count_online(site)) == (1, 0)


def test_the_poller_resumes_it_and_it_comes_to_its_gate_with_every_row_answered_once(site: Site, night: Night) -> None:
    site.provider.batches.end()
    _poll(site)
    wait_for(lambda: site.project.read_state(night.run_id) == "waiting", "the run to come to its gate")
    site.api.wait_for_state(night.flow_run_id, "Suspended")
    found = site.project.find_run(night.run_id)
    assert (found["accepted"], found["pending"], found["quarantined"]) == (_N_ROWS, 0, 0)
    assert set(site.provider.batches.executed.values()) == {1}
    assert (len(site.provider.batches.executed), _count_online(site)) == (_N_ROWS, 0)
    # What waits for a person is not the poller's.
    _poll(site)
    assert site.project.read_state(night.run_id) == "waiting"
    assert site.api.get_state(night.flow_run_id) == "Suspended"
