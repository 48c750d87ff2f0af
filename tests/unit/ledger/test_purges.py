"""What a purge drops, and what can be done afterwards; on SQLite and on Postgres."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.draws import find_draw
from overnight.ledger.queries import summarize
from overnight.ledger.releases import find_release
from overnight.parts import read_part
from overnight.purge import describe_purge
from overnight.records import Approval
from tests.conftest import RUN, House
from tests.unit.ledger.nights import SAID, TEXTS, Nights


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
