"""What a purge would drop, found without writing anything: a dry run ends here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from overnight.failures import PartRefused
from overnight.keys import request_key
from overnight.ledger import Ledger
from overnight.ledger.kept import Kept, PinnedBatch, find_kept, find_mark, find_young_keys, list_pinned
from overnight.ledger.purged_texts import count_replays, list_unpurged_releases
from overnight.ledger.purges import list_old_requests, list_purgeable_bodies
from overnight.parts import read_columns
from overnight.purge.files import OldFile, find_old_files
from overnight.records import CheckedBatch, RowState


@dataclass(frozen=True)
class Findings:
    """What may be dropped, as of one state of the ledger."""

    #: Of the ledger: where it has changed since, all is found out anew.
    mark: tuple[int, ...]
    found_at: float
    kept: Kept
    #: Keys of requests.
    requests: tuple[str, ...]
    #: Digests, each with the bytes that it takes.
    bodies: Mapping[str, int]
    releases: tuple[str, ...]
    n_replays: int
    files: tuple[OldFile, ...]

    def count(self) -> dict[str, int]:
        """How many of each kind, and how many bytes."""
        kinds = [file.kind for file in self.files]
        return {
            "runs": len(self.kept.others),
            "requests": len(self.requests),
            "bodies": len(self.bodies),
            "releases": len(self.releases),
            "replays": self.n_replays,
            **{kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "bytes": sum(self.bodies.values()) + sum(file.n_bytes for file in self.files),
        }


def find_purgeable(ledger: Ledger, home: Path, *, before: float, now: float) -> Findings:
    """
    All that is older than `before` and that nothing needs which is left whole.

    Args:
        ledger: Only read.
        home: Where parts, pages and drafts are.
        before: Seconds since the epoch.
        now: The same.
    """
    with ledger.reading() as connection:
        mark, kept = find_mark(connection), find_kept(connection, before, now)
        pinned = [batch for run_id in kept.runs for batch in list_pinned(connection, run_id)]
        wanted = find_young_keys(connection, before) | _find_keys(pinned, home)
        old = tuple(key for key in list_old_requests(connection, before) if key not in wanted)
        bodies = list_purgeable_bodies(
            connection, dropped=frozenset(old), payloads_of=kept.runs.keys() | kept.standing, before=before
        )
        return Findings(
            mark=mark,
            found_at=now,
            kept=kept,
            requests=old,
            bodies=bodies,
            releases=tuple(list_unpurged_releases(connection, kept.others)),
            n_replays=count_replays(connection, before),
            files=tuple(_find_files(ledger, kept, pinned, home, before=before, now=now)),
        )


def _find_keys(pinned: list[PinnedBatch], home: Path) -> set[str]:
    return {key for batch in pinned for key in _read_keys(batch, home)}


def _read_keys(pinned: PinnedBatch, home: Path) -> Iterator[str]:
    """The requests of a batch: those that it names, and those that it will have once it is asked."""
    try:
        rows = read_columns(pinned.batch.part, home)
    except PartRefused:
        return  # what it named is lost already
    yield from filter(None, rows["request_key"])
    for prompt_hash in pinned.prompt_hashes:
        for given, state in zip(rows["input"], rows["state"], strict=True):
            if given and state == RowState.PENDING:
                yield request_key(given, prompt_hash)


def _find_files(
    ledger: Ledger,
    kept: Kept,
    pinned: list[PinnedBatch],
    home: Path,
    *,
    before: float,
    now: float,
) -> Iterator[OldFile]:
    used = {home / batch.batch.part.path for batch in pinned}
    used |= {home / b.batch.docs for b in pinned if isinstance(b.batch, CheckedBatch) and b.batch.docs}
    # What is younger than this moment may be in use by a run that has not said so yet.
    return find_old_files(home, ledger.path, used=used, runs=kept.runs.keys(), before=min(before, now))
