"""
Two people, known by their codes, decide on what cannot be undone: one run that waits without a process, told in order.

After these stories a name alone does no longer: they come last.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest

from tests.acceptance.site import N_DEPLOYED, Site
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.acceptance


@dataclass
class Panel:
    """The people who may review, and the run that waits for them."""

    site: Site
    flow_run_id: str
    secrets: dict[str, str]
    #: The last code that was shown: it is used up.
    shown: str = ""

    @property
    def run_id(self) -> str:
        return self.site.api.get_run_id(self.flow_run_id)

    def show_code(self, name: str, *, steps: int = 0) -> str:
        """What the app of somebody shows, or shows so many half minutes later."""
        self.shown = pyotp.TOTP(self.secrets[name]).at(int(time.time()) + 30 * steps)
        return self.shown

    def read(self, *, honestly: bool = True) -> dict[str, Any]:
        """Verdicts on what is shown now: all correct, but for the seeds, where somebody reads."""
        items = self.site.project.read_items(self.run_id)
        seeds = self.site.project.find_seeds(self.run_id) if honestly else set()
        return {str(i["item"]): "wrong" if i["item"] in seeds else "correct" for i in items}

    def fill_form(self, name: str, code: str, *, honestly: bool = True) -> str:
        """Send the form as the UI does; ACCEPT where it is one."""
        verdicts = {f"item_{int(n):02d}": verdict for n, verdict in self.read(honestly=honestly).items()}
        return self.site.api.resume(
            self.flow_run_id, verdicts | {"decision": "release", "reviewer": name, "code": code}
        )

    def review(self, name: str, code: str) -> Any:
        """Decide in the terminal."""
        answers = {"decision": "release", "items": self.read(), "code": code}
        return self.site.project.review(self.run_id, answers, name)

    def wait_for_round(self, n: int) -> None:
        """Wait until the run asks again: another suspension with another key."""

        def ask() -> bool:
            state = self.site.api.get(f"/flow_runs/{self.flow_run_id}")["state"]
            return state["name"] == "Suspended" and str(state["state_details"]["pause_key"]).endswith(f"-{n}")

        wait_for(ask, f"round {n + 1} of the review", timeout_s=90)


@pytest.fixture(scope="module")
def panel(site: Site) -> Panel:
    flow_run_id = site.wait_at_gate("reviewed")
    secrets = {}
    for name in ("Ada", "Ben", "Cleo"):
        done = site.project.run("reviewers", "add", name)
        assert done.code == 0, done.err
        [groups] = re.findall(r"digits\): ([A-Z2-7 ]+)$", done.out, re.MULTILINE)
        secrets[name] = groups.replace(" ", "")
    return Panel(site, flow_run_id, secrets)


def test_who_started_the_run_does_not_decide_on_it(panel: Panel) -> None:
    done = panel.review("Ada", panel.show_code("Ada"))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "Ada started this run" in done.err
    assert panel.site.api.get_state(panel.flow_run_id) == "Suspended"


def test_people_were_told_that_the_run_waits_before_it_was_suspended(panel: Panel) -> None:
    """By its own code, with what waits; Prefect's automation rings besides."""
    told = [n for n in panel.site.people.notices if n["title"] == f"Run {panel.run_id} waits for a person"]
    assert len(told) == 1
    assert f"{N_DEPLOYED} rows wait to be sent to {panel.site.receiver.url}" in told[0]["message"]
    assert f"overnight review {panel.run_id} --web" in told[0]["message"]


def test_a_wrong_code_opens_another_round(panel: Panel) -> None:
    shown = panel.site.project.read_items(panel.run_id)
    assert panel.fill_form("Ben", "000000") == "ACCEPT"
    panel.wait_for_round(1)
    assert panel.site.project.read_items(panel.run_id) == shown
    assert not panel.site.receiver.received


def test_who_calls_all_seeds_correct_is_shown_them_and_others_are_drawn(panel: Panel) -> None:
    shown = panel.site.project.read_items(panel.run_id)
    assert panel.fill_form("Ben", panel.show_code("Ben"), honestly=False) == "ACCEPT"
    panel.wait_for_round(2)
    assert panel.site.project.read_items(panel.run_id) != shown
    waits = panel.site.api.list_artifacts(panel.flow_run_id)[f"review-{panel.run_id}"]["data"]
    assert "0 of 3 seeds were caught" in waits
    assert not panel.site.receiver.received


def test_a_code_that_was_used_is_taken_no_more(panel: Panel) -> None:
    done = panel.review("Ben", panel.shown)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "was used already" in done.err


def test_one_reader_is_not_enough_for_what_cannot_be_undone(panel: Panel) -> None:
    done = panel.review("Ben", panel.show_code("Ben", steps=1))
    assert done.code == 0, done.err
    assert "read by somebody else too" in done.err
    panel.wait_for_round(3)
    assert not panel.site.receiver.received


def test_the_second_reader_lets_the_rows_leave_once(panel: Panel) -> None:
    assert panel.fill_form("Cleo", panel.show_code("Cleo")) == "ACCEPT"
    panel.site.api.wait_for_state(panel.flow_run_id, "Completed")
    received = panel.site.receiver.received
    assert len(received) == len({r.key for r in received}) == N_DEPLOYED
    run = panel.site.project.find_run(panel.run_id)
    assert run["state"] == "released"
