"""A ledger in a file that went backwards is not taken for the one it was."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from overnight.failures import LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.high_water import EVERY_S, HighWater
from overnight.ledger.schema import meta


@pytest.fixture
def database() -> str:
    """Only a ledger in a file has such a mark."""
    return "sqlite"


def _write(ledger: Ledger, name: str) -> None:
    ledger.write(lambda c: c.execute(meta.insert().values(name=name, value="")) and None)


def _mark(home: Path) -> int:
    return int((home / "ledger.sqlite.highwater").read_text())


def test_the_mark_stands_at_the_commits_of_a_ledger_that_was_closed(ledger_url: str, home: Path) -> None:
    with closing(Ledger(ledger_url)) as ledger:
        for n in range(5):
            _write(ledger, f"{n}")
    before = _mark(home)
    with closing(Ledger(ledger_url)) as again:
        _write(again, "later")
    assert _mark(home) == before + 1


def test_an_older_copy_is_refused_with_what_to_do(ledger_url: str, home: Path) -> None:
    copy, ledger_file = home / "copy.sqlite", home / "ledger.sqlite"
    shutil.copyfile(ledger_file, copy)
    with closing(Ledger(ledger_url)) as ledger:
        _write(ledger, "new")
    shutil.copyfile(copy, ledger_file)
    with pytest.raises(LedgerRefused, match=r"it went backwards.*delete ledger.sqlite.highwater to go on") as caught:
        Ledger(ledger_url)
    assert "\n" not in str(caught.value)
    (home / "ledger.sqlite.highwater").unlink()
    Ledger(ledger_url).close()


@pytest.mark.parametrize("left", [b"", None], ids=["emptied", "gone"])
def test_a_ledger_that_vanished_is_not_begun_anew(ledger_url: str, home: Path, left: bytes | None) -> None:
    with closing(Ledger(ledger_url)) as ledger:
        _write(ledger, "new")
    file = home / "ledger.sqlite"
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    with pytest.raises(LedgerRefused, match="has 0 commits and had"):
        Ledger(ledger_url)


def test_a_mark_that_cannot_be_read_is_refused(ledger_url: str, home: Path) -> None:
    (home / "ledger.sqlite.highwater").write_text("many")
    with pytest.raises(LedgerRefused, match=r"high-water file .* cannot be read"):
        Ledger(ledger_url)


def test_the_file_is_written_once_in_a_while_and_when_it_must(tmp_path: Path) -> None:
    now = 0.0
    mark = HighWater(tmp_path / "ledger.sqlite", clock=lambda: now)
    mark.raise_to(1)
    mark.raise_to(2)
    assert mark.read() == 1
    now += EVERY_S
    mark.raise_to(3)
    mark.raise_to(4, now=True)
    assert mark.read() == 4


def test_a_disk_that_is_full_costs_no_commit(tmp_path: Path) -> None:
    mark = HighWater(tmp_path / "gone" / "ledger.sqlite")
    mark.raise_to(1)
    assert mark.read() == 0


def test_another_process_that_saw_less_of_the_ledger_does_not_lower_the_mark(ledger_url: str, home: Path) -> None:
    with closing(Ledger(ledger_url)) as idle:
        _write(idle, "first")
        with closing(Ledger(ledger_url)) as busy:
            for n in range(5):
                _write(busy, f"{n}")
        after = _mark(home)
    assert _mark(home) == after


def test_a_mark_that_cannot_be_written_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", refuse)
    HighWater(tmp_path / "ledger.sqlite").raise_to(1)
    assert list(tmp_path.iterdir()) == []
