"""What a purge would drop, found without writing anything: a dry run ends here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overnight.ledger import Ledger
from overnight.ledger.inbox import list_purgeable
from overnight.ledger.kept import Kept, find_kept
from overnight.ledger.pinned import PinnedBatch, find_active, find_last_pass, find_young_keys, list_pinned
from overnight.ledger.purged_texts import count_replays, list_unpurged_releases
from overnight.ledger.purges import list_old_requests, list_purgeable_bodies
from overnight.place import PartsPlace
from overnight.purge.files import SLACK_S, OldFile, find_old_files
from overnight.purge.pinned import find_keys, find_paths


@dataclass(frozen=True)
class Findings:
    """What may be dropped, as of one state of the ledger."""

    found_at: float
    #: Runs that might have been writing then, and the last pass that had begun: these may need more since.
    active: frozenset[str]
    last_pass: int
    kept: Kept
    #: Keys of requests.
    requests: tuple[str, ...]
    #: Digests, each with the bytes that it takes.
    bodies: Mapping[str, int]
    releases: tuple[str, ...]
    n_replays: int
    files: tuple[OldFile, ...]
    #: Keys of requests from outside.
    inbox: tuple[str, ...] = ()

    @property
    def since(self) -> float:
        """Who has done anything from then on may need more than was found out."""
        return self.found_at - SLACK_S

    def count(self) -> dict[str, int]:
        """How many of each kind, and how many bytes."""
        kinds = [file.kind for file in self.files]
        return {
            "runs": len(self.kept.others),
            "requests": len(self.requests),
            "bodies": len(self.bodies),
            "releases": len(self.releases),
            "replays": self.n_replays,
            **({"inbox": len(self.inbox)} if self.inbox else {}),
            **{kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "bytes": sum(self.bodies.values()) + sum(file.n_bytes for file in self.files),
        }


def find_purgeable(ledger: Ledger, home: Path, place: PartsPlace, *, before: float, now: float) -> Findings:
    """
    All that is older than `before` and that nothing needs which is left whole.

    Args:
        ledger: Only read.
        home: Where pages and drafts are.
        place: Where parts are.
        before: Seconds since the epoch.
        now: The same.
    """
    with ledger.reading() as connection:
        last_pass, kept = find_last_pass(connection), find_kept(connection, before, now)
        pinned = [batch for run_id in kept.runs for batch in list_pinned(connection, run_id)]
        wanted = find_young_keys(connection, before) | find_keys(pinned, place)
        old = tuple(key for key in list_old_requests(connection, before) if key not in wanted)
        bodies = list_purgeable_bodies(connection, dropped=frozenset(old), payloads_of=kept.payloads_of, before=before)
        return Findings(
            found_at=now,
            active=frozenset(find_active(connection, after_pass=last_pass, since=now - SLACK_S)),
            last_pass=last_pass,
            kept=kept,
            requests=old,
            bodies=bodies,
            releases=tuple(list_unpurged_releases(connection, kept.others)),
            n_replays=count_replays(connection, before),
            files=tuple(_find_files(ledger, kept, pinned, home, place, before=before, now=now)),
            inbox=tuple(list_purgeable(connection, before)),
        )


def _find_files(
    ledger: Ledger,
    kept: Kept,
    pinned: Sequence[PinnedBatch],
    home: Path,
    place: PartsPlace,
    *,
    before: float,
    now: float,
) -> Iterator[OldFile]:
    # What is younger than this moment may be in use by a run that has not said so yet.
    return find_old_files(
        home, place, ledger.path, used=find_paths(pinned, home, place), runs=kept.runs.keys(), before=min(before, now)
    )
