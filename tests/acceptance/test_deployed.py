"""Deployed runs: a schedule fires, a run waits without a process, and only a full review lets its rows out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.acceptance.processes import list_processes
from tests.acceptance.project import SOURCE
from tests.acceptance.review_page import ReviewPage
from tests.acceptance.site import N_DEPLOYED, TICKETS, Site
from tests.acceptance.waiting import wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

_PROMPT = "prompts/triage_ticket/prompt.md"


@pytest.fixture(scope="module")
def fired(site: Site) -> str:
    """The flow run that the schedule began, at its gate."""

    def find() -> str | None:
        return next((one for one in site.api.list_fired(TICKETS) if site.api.get_state(one) == "Suspended"), None)

    return wait_for(find, "the schedule to fire and its run to wait", timeout_s=270)


@pytest.fixture
def edited(site: Site) -> Iterator[None]:
    """The source and the prompt as somebody changed them while all runs wait."""
    for name in site.runs:
        site.wait_at_gate(name)
    files = [site.project.folder / name for name in (SOURCE, _PROMPT)]
    before = [file.read_text() for file in files]
    files[0].write_text("ticket_id,subject,body\nT-1001,Another,Not what was read.\n")
    files[1].write_text(before[1].replace("You work in", "You rule"))
    yield
    for file, text in zip(files, before, strict=True):
        file.write_text(text)


@dataclass(frozen=True)
class Shown:
    """What a reviewer of a run is shown: rows, and seeds among them."""

    items: list[dict[str, Any]]
    seeds: set[int]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [i for i in self.items if i["item"] not in self.seeds]

    def verdicts(self, *wrong: str) -> dict[int, str]:
        """Of a reader who finds every seed, and every row correct but these."""
        return {
            i["item"]: "wrong" if i["item"] in self.seeds or i["row_id"] in wrong else "correct" for i in self.items
        }

    def sent(self, *held: str) -> dict[str, dict[str, Any]]:
        """The outputs that leave, by row, where these rows are held."""
        return {i["row_id"]: i["output"] for i in self.rows if i["row_id"] not in held}


def _show(site: Site, run_id: str) -> Shown:
    return Shown(site.project.read_items(run_id), site.project.find_seeds(run_id))


def _outputs(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each row that left says, without where it came from."""
    origin = ("row_id", "request_key", "prompt_hash", "model")
    return {row["row_id"]: {k: v for k, v in row.items() if k not in origin} for row in rows}


def test_a_schedule_fires_and_its_run_waits_without_a_process(site: Site, fired: str) -> None:
    wait_for(lambda: not list_processes(f"PREFECT__FLOW_RUN_ID={fired}"), "the run's process to end")
    run_id = site.api.get_run_id(fired)
    assert site.api.get_state(fired) == "Suspended"
    assert set(site.api.list_artifacts(fired)) >= {f"{kind}-{run_id}" for kind in ("progress", "report", "review")}
    assert site.project.find_run(run_id)["state"] == "waiting"
    assert not site.read_rows("fired")


def test_the_form_has_no_default_and_only_rows_marked_correct_leave(site: Site, fired: str, page: Page) -> None:
    shown = _show(site, site.api.get_run_id(fired))
    titles = {f"{i['item']}. {i['row_id']}": i["item"] for i in shown.items}
    form = ReviewPage(page, site.api.url.removesuffix("/api"), fired)
    form.open("Logs")
    form.open_form()
    assert {form.read_choice(title) for title in (*titles, "Decision")} == {"Select"}
    form.submit()
    form.expect_refused()
    assert site.api.get_state(fired) == "Suspended"

    wrong, doubtful = shown.rows[1]["row_id"], shown.rows[4]["row_id"]
    given = shown.verdicts(wrong) | {shown.rows[4]["item"]: "unsure"}
    for title, verdict in ({title: given[n] for title, n in titles.items()} | {"Decision": "hold"}).items():
        form.choose(title, verdict)
    form.write("Your name", "Ada")
    form.save_form("form.png", at=list(titles)[1])
    form.submit()
    form.expect_sent()
    site.api.wait_for_state(fired, "Completed")
    form.open("Task Runs")
    form.expect_state("Completed")
    form.save("run.png")
    assert _outputs(site.read_rows("fired")) == shown.sent(wrong, doubtful)


def test_the_api_rejects_an_empty_answer_and_the_run_goes_on_waiting(site: Site) -> None:
    flow_run_id = site.wait_at_gate("resumed")
    assert site.api.resume(flow_run_id, {}) == "REJECT"
    assert site.api.get_state(flow_run_id) == "Suspended"


def test_what_was_read_is_delivered_through_the_api_whatever_was_edited_since(site: Site, edited: None) -> None:
    flow_run_id = site.wait_at_gate("resumed")
    shown = _show(site, site.api.get_run_id(flow_run_id))
    n_calls = len(site.provider.online_calls)
    verdicts = {f"item_{n:02d}": verdict for n, verdict in shown.verdicts().items()}
    assert site.api.resume(flow_run_id, {**verdicts, "decision": "release", "reviewer": "Ada"}) == "ACCEPT"
    site.api.wait_for_state(flow_run_id, "Completed")
    left = _outputs(site.read_rows("resumed"))
    assert len(left) == N_DEPLOYED
    assert shown.sent().items() <= left.items()
    assert len(site.provider.online_calls) == n_calls


def test_a_state_that_is_forced_on_releases_nothing(site: Site) -> None:
    running, scheduled = site.wait_at_gate("running"), site.wait_at_gate("scheduled")
    n_runs = site.api.count_runs(scheduled)
    site.api.force_state(running, "RUNNING")
    site.api.force_state(scheduled, "SCHEDULED")
    # The one that a worker begins again comes to its gate again; the other has no process at all.
    wait_for(lambda: site.api.count_runs(scheduled) > n_runs, "a worker to begin the run")
    site.api.wait_for_state(scheduled, "Suspended")
    assert site.api.get_state(running) == "Running"
    for name in ("running", "scheduled"):
        assert site.project.find_run(site.api.get_run_id(site.runs[name]))["state"] == "waiting"
        assert not site.read_rows(name)


# A run that was forced on has no process that could go on: the review continues it in a flow run of its own,
# and the forced one stays as it was forced until somebody cancels it.
@pytest.mark.parametrize(("name", "ends"), [("running", "Running"), ("scheduled", "Completed")])
def test_a_review_still_releases_a_run_whose_state_was_forced(site: Site, name: str, ends: str) -> None:
    run_id = site.api.get_run_id(site.runs[name])
    shown = _show(site, run_id)
    answers = {"decision": "release", "items": {str(n): verdict for n, verdict in shown.verdicts().items()}}
    done = site.project.review(run_id, answers, "Ada")
    assert done.code == 0, done.err
    assert (done.summary["state"], done.summary["published"]) == ("released", N_DEPLOYED)
    site.api.wait_for_state(site.runs[name], ends)
    assert shown.sent().items() <= _outputs(site.read_rows(name)).items()


def test_of_all_runs_over_the_same_input_one_asks_and_the_others_show_cached(site: Site, fired: str) -> None:
    found = [site.api.list_task_states(flow_run_id) for flow_run_id in (fired, *site.runs.values())]
    for task in ("complete-batch", "check-batch"):
        states = Counter(state for tasks in found for state in tasks[task])
        assert set(states) == {"Completed", "Cached"}
        assert states["Completed"] == 1
    assert len(site.provider.online_calls) == N_DEPLOYED
