"""What a purge drops, what it leaves whole, and what can be done afterwards; on SQLite and on Postgres."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.complete import Engine, complete_batch
from overnight.deliver import deliver_release
from overnight.failures import LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.attempts import record_prompt
from overnight.ledger.draws import find_draw
from overnight.ledger.queries import summarize
from overnight.ledger.releases import find_release
from overnight.ledger.runs import pin_model, pin_prompt, record_batches, record_part, set_state
from overnight.parts import read_part
from overnight.purge import Purged, describe_purge, purge
from overnight.records import Approval, CheckedBatch, Prompt, Release, RunState
from tests.conftest import DATABASES, RUN, House
from tests.fakes.provider import FakeProvider

TEXTS = ["a red car of Hidden Lane", "a blue car of Hidden Lane"]
SAID = "Hidden Lane"

on_each = pytest.mark.parametrize("database", DATABASES)


class Nights:
    """Nights over a fake provider, each with its release."""

    def __init__(self, house: House, fake: FakeProvider, engine: Engine) -> None:
        self.house, self.fake, self.engine = house, fake, engine
        self.prompt: Prompt = house.make_prompt(endpoint=fake.openai_base_url)

    def ask(self, texts: list[str] = TEXTS, run_id: str = RUN) -> CheckedBatch:
        """The texts asked by a run, and checked."""
        house, prompt, write = self.house, self.prompt, self.house.ledger.write
        house.begin(run_id)
        batch = house.read_batch(texts)
        write(lambda c: (record_prompt(c, prompt, 1.0), pin_prompt(c, run_id, prompt)))
        write(lambda c: (pin_model(c, run_id, prompt), record_batches(c, run_id, [batch])))
        completed = complete_batch(batch, prompt, run_id=run_id, engine=self.engine)
        checked = CheckedBatch(
            1, completed.part, prompt.prompt_hash, prompt.checks_hash, len(texts), 0, 0, warnings=(f"of {SAID}",)
        )
        write(lambda c: (record_batches(c, run_id, [completed]), record_part(c, f"check-{run_id}", checked, 1.0)))
        return checked

    def offer(self, texts: list[str] = TEXTS, run_id: str = RUN) -> Release:
        return self.house.offer_checked([self.ask(texts, run_id)], self.prompt, run_id=run_id)

    def publish(self, texts: list[str] = TEXTS, run_id: str = RUN) -> Release:
        """A night to its end."""
        release = self.offer(texts, run_id)
        approval = self.house.approve(release, r1={"corrected": {"quote": f"by {SAID}"}})
        deliver_release(approval, ledger=self.house.ledger, settings=self.house.settings)
        self.end(run_id)
        return release

    def end(self, run_id: str, state: RunState = RunState.RELEASED) -> None:
        self.house.ledger.write(lambda c: set_state(c, run_id, state, f"because of {SAID}"))

    def make_old(self) -> None:
        """Let all that was recorded lie far back; what was approved cannot be used any more."""
        for statement in (
            "UPDATE requests SET recorded_at = 2",
            "UPDATE attempts SET opened_at = 2",
            "UPDATE completions SET accepted_at = 2",
            "UPDATE review_answers SET recorded_at = 2",
            "UPDATE approvals SET issued_at = 2, consumed_at = 2, expires_at = 2",
        ):
            try:
                self.house.tamper(statement)
            except AssertionError:
                continue  # there is nothing of it
        for path in self.house.home.rglob("*.parquet"):
            os.utime(path, (2, 2))

    def purge(self, *, is_dry: bool = False, before: float = 1000.0, clock: Callable[[], float] = time.time) -> Purged:
        return purge(self.house.ledger, self.house.home, before=before, by="Ada", is_dry=is_dry, clock=clock)

    def count(self, what: str) -> int:
        return int(self.house.fetch(f"SELECT count(*) FROM {what}")[0][0])  # noqa: S608 - of these tests

    def list_left(self) -> list[str]:
        """The tables in which the rows' words stand."""
        words = {
            "requests": "input", "completions": "output", "review_answers": "verdicts", "draws": "items",
            "verdicts": "correction", "runs": "reason", "run_batches": "manifest", "parts": "manifest",
        }  # fmt: skip
        return [name for name, column in words.items() if self.count(f"{name} WHERE {column} LIKE '%{SAID}%'")]


def quote(body: dict[str, Any]) -> dict[str, Any]:
    """An answer in the words of the row."""
    text = str(body["messages"][-1]["content"])
    return {"label": "blue" if "blue" in text else "red", "quote": f"a {'blue' if 'blue' in text else 'red'} {SAID}"}


@pytest.fixture
def nights(house: House, fake: FakeProvider) -> Iterator[Nights]:
    fake.answer = quote
    with closing(Engine(house.settings, house.ledger)) as engine:
        yield Nights(house, fake, engine)


@on_each
def test_texts_and_bytes_go_and_hashes_times_tokens_and_verdicts_stay(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    assert len(nights.list_left()) == 8
    before = nights.house.fetch("SELECT request_key, body, sent, input_tokens, closed_at, outcome FROM attempts")
    done = nights.purge()
    assert nights.list_left() == []
    assert nights.count("bodies WHERE length(data) > 0") == 0
    assert nights.count("bodies WHERE n_bytes > 0") == done.counts["bodies"]
    assert (
        nights.house.fetch("SELECT request_key, body, sent, input_tokens, closed_at, outcome FROM attempts") == before
    )
    assert nights.count("purged_answers WHERE output_digest IS NOT NULL") == len(TEXTS)
    assert sorted(row[0] for row in nights.house.fetch("SELECT verdict FROM verdicts")) == ["correct", "corrected"]
    assert not list(nights.house.home.rglob("*.parquet"))


@on_each
def test_a_dry_run_tells_the_same_and_drops_nothing(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    told = nights.purge(is_dry=True)
    assert len(nights.list_left()) == 8
    assert nights.count("purges") == 0
    done = nights.purge()
    assert told.counts == done.counts
    assert nights.house.fetch('SELECT "by" FROM purges') == [("Ada",)]
    assert nights.purge().counts["bytes"] == 0


@on_each
def test_what_was_purged_is_asked_anew_and_stands_whole_again(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    n_calls = len(nights.fake.calls)
    summary = nights.house.ledger.read(lambda c: summarize(c, RUN, 3.0))
    nights.purge()
    assert nights.house.ledger.read(lambda c: summarize(c, RUN, 3.0)).hits == summary.hits
    checked = nights.ask(run_id="night-2")
    assert len(nights.fake.calls) == n_calls + len(TEXTS)
    rows = read_part(checked.part, nights.house.home).to_pylist()
    assert {row["state"] for row in rows} == {"accepted"}
    assert nights.count("requests WHERE purged_at IS NOT NULL") == 0
    assert nights.count("bodies b JOIN requests r ON r.body = b.digest WHERE length(b.data) = 0") == 0
    nights.ask(run_id="night-3")
    assert len(nights.fake.calls) == n_calls + len(TEXTS)


@on_each
def test_what_a_young_run_uses_stays_whole_however_old_it_is(nights: Nights) -> None:
    nights.publish([*TEXTS, "of the old night alone"])
    nights.ask(TEXTS, run_id="night-2")
    nights.make_old()
    nights.house.tamper("UPDATE passes SET started_at = 2000 WHERE run_id = 'night-2'")
    nights.house.tamper("UPDATE runs SET state = 'released' WHERE run_id = 'night-2'")
    done = nights.purge()
    assert (done.counts["requests"], done.kept) == (1, {"young": 1})
    assert nights.count("completions") == len(TEXTS)
    n_calls = len(nights.fake.calls)
    nights.ask(TEXTS, run_id="night-3")
    assert len(nights.fake.calls) == n_calls
    assert nights.count("bodies b JOIN requests r ON r.body = b.digest WHERE length(b.data) > 0") == len(TEXTS)


@on_each
def test_an_open_review_has_all_that_it_needs_afterwards(nights: Nights) -> None:
    release = nights.offer()
    nights.end(RUN, RunState.HALTED)
    nights.make_old()
    assert nights.purge().kept == {"in review": 1}
    shown = nights.house.ledger.read(lambda c: find_release(c, RUN))
    assert shown is not None
    assert shown.items == release.items
    approval = nights.house.approve(shown)
    assert {r.state for r in deliver_release(approval, ledger=nights.house.ledger, settings=nights.house.settings)} == {
        "delivered"
    }


@on_each
def test_an_approval_that_can_be_used_delivers_afterwards(nights: Nights) -> None:
    approval = nights.house.approve(nights.offer())
    nights.end(RUN, RunState.HALTED)
    for statement in ("UPDATE requests SET recorded_at = 2", "UPDATE approvals SET signature = signature"):
        nights.house.tamper(statement)
    # Everything is old, but for the approval's last moment.
    done = nights.purge(before=time.time() + 60, clock=lambda: approval.expires_at.timestamp() - 1)
    assert done.kept == {"approved": 1}
    receipts = deliver_release(approval, ledger=nights.house.ledger, settings=nights.house.settings)
    assert {r.state for r in receipts} == {"delivered"}


@on_each
@pytest.mark.parametrize("state", ["promised", "sending", "unknown"])
def test_deliveries_that_are_not_at_their_end_keep_their_run(nights: Nights, state: str) -> None:
    nights.publish()
    nights.make_old()
    nights.house.tamper("UPDATE outbox SET state = :state WHERE position = 0", state=state)
    assert nights.purge().kept == {"not delivered": 1}
    assert len(nights.list_left()) == 8


@pytest.mark.parametrize("state", ["running", "waiting"])
def test_a_run_that_is_not_at_its_end_stays_whole(nights: Nights, state: str) -> None:
    nights.publish()
    nights.make_old()
    nights.end(RUN, RunState(state))
    assert nights.purge().kept == {state: 1}
    assert len(nights.list_left()) == 8


@on_each
def test_a_purged_release_reads_as_purged_and_not_as_altered(nights: Nights) -> None:
    release = nights.publish()
    approval = find_standing(nights.house.ledger, RUN, release.sink, now=time.time())
    # Its times are signed: it is the purge that is far ahead.
    later = time.time() + 10 * 86_400
    nights.purge(before=later - 60, clock=lambda: later)
    with nights.house.ledger.reading() as connection:
        draw, found = find_draw(connection, release.release_id), find_release(connection, RUN)
        assert draw is not None
        assert found is not None
        assert (draw.items, found.items, found.n_seeds) == ((), (), release.n_seeds)
        assert len(draw.drawn) == len(release.items)
    assert isinstance(approval, Approval)
    with pytest.raises(LedgerRefused, match="dropped by `overnight purge`"):
        deliver_release(approval, ledger=nights.house.ledger, settings=nights.house.settings)


def test_what_stood_at_a_sink_before_a_kept_release_can_be_put_back(nights: Nights) -> None:
    nights.publish()
    nights.publish([*TEXTS, "one more"], run_id="night-2")
    nights.house.tamper("UPDATE runs SET started_at = 2")
    nights.make_old()
    nights.house.tamper("UPDATE passes SET started_at = 2000 WHERE run_id = 'night-2'")
    nights.purge()
    query = "release_rows r JOIN bodies b ON b.digest = r.payload WHERE length(b.data) = 0"
    assert nights.count(query) == 0


@on_each
def test_what_begins_meanwhile_is_not_harmed(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    began: list[str] = []

    def clock() -> float:
        if nights.count("purges") and not began:
            began.append(nights.house.begin("night-2"))
            batch = nights.house.read_batch(TEXTS)
            nights.house.ledger.write(lambda c: pin_prompt(c, "night-2", nights.prompt))
            nights.house.ledger.write(lambda c: pin_model(c, "night-2", nights.prompt))
            nights.house.ledger.write(lambda c: record_batches(c, "night-2", [batch]))
        return 1001.0

    nights.purge(clock=clock)
    assert began == ["night-2"]
    assert nights.count("completions") == len(TEXTS)
    n_calls = len(nights.fake.calls)
    nights.ask(run_id="night-2")
    assert len(nights.fake.calls) == n_calls


def _purge_by_hand(house: House, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "overnight", "purge", "--older-than", "1h", "--yes", "--json"]
    own = {"OVERNIGHT_HOME": str(house.home), "OVERNIGHT_LEDGER_URL": house.ledger.url}
    return subprocess.run(command, env=os.environ | own | environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("nth", [1, 4])
def test_a_purge_that_was_killed_is_finished_by_the_next(nights: Nights, nth: int) -> None:
    nights.publish()
    nights.make_old()
    killed = _purge_by_hand(nights.house, OVERNIGHT_FAILPOINT=f"after-purged:{nth}")
    assert killed.returncode == -signal.SIGKILL
    assert nights.house.ledger.read(lambda c: find_release(c, RUN)) is not None
    done = _purge_by_hand(nights.house)
    assert (done.returncode, done.stderr) == (0, "")
    assert nights.list_left() == []
    assert nights.count("bodies WHERE length(data) > 0") == 0
    # Its commits are counted, or it would be taken for one that went backwards.
    with closing(Ledger(nights.house.ledger.url)) as again:
        assert again.ledger_id == nights.house.ledger.ledger_id


@pytest.mark.parametrize("database", ["sqlite"])
def test_no_byte_of_what_was_dropped_is_left_in_the_ledger_s_files(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    done = nights.purge()
    files = list(nights.house.home.glob("ledger.sqlite*"))
    assert done.left == ()
    assert [path.name for path in files if SAID.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("database", ["sqlite"])
def test_old_copies_pages_drafts_and_reports_are_deleted_and_the_index_says_so(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    home = nights.house.home
    page = home / "docs" / "sort" / "validations" / "sort" / "a.html"
    old = [
        home / "ledger.sqlite.before-upgrade-from-0005", page, home / "reviews" / "night-0-abc-1.json",
        home / "reports" / "night-0.html", home / "results" / "check_batch-0",
    ]  # fmt: skip
    for path in (*old, home / "approval.key", home / "reports" / "night-9.html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SAID)
    (home / "docs" / "sort" / "validations.jsonl").write_text("")
    for path in (*old, home / "approval.key"):
        os.utime(path, (2, 2))
    done = nights.purge()
    assert [path for path in old if path.exists()] == []
    assert (home / "approval.key").exists()
    assert (home / "reports" / "night-9.html").exists()
    assert {kind: done.counts[kind] for kind in ("backups", "pages", "drafts", "reports", "results")} == dict.fromkeys(
        ("backups", "pages", "drafts", "reports", "results"), 1
    )
    assert "0 validations" in (home / "docs" / "sort" / "index.html").read_text()


def test_it_says_what_can_no_longer_be_answered(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    told: Any = "\n".join(describe_purge(nights.purge(is_dry=True)))
    assert "Would drop, of 1 runs" in told
    assert "`overnight why` would tell hashes, times, tokens, cost and verdicts of 2 requests" in told
    assert "paid for again" in told
    assert "Not touched" in told
