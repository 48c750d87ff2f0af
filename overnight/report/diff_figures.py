"""What each side of a comparison took: tokens, cost and latency of the requests of its pairs."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import sqlalchemy as sa

from overnight.ledger.comparing import Took, stream_took
from overnight.report.diff_columns import ACCEPTED, Columns, Hashes
from overnight.report.diff_pairs import Places

#: Attempts that are in memory at once.
_AT_ONCE = 5000


@dataclass(frozen=True)
class Figures:
    """
    What the requests of one side took, all of their attempts together, whichever run made them.

    None: nobody said, or there is nothing to go by.
    """

    #: The side with what answered it.
    title: str
    n_requests: int
    n_attempts: int
    n_accepted: int
    input_tokens: float | None
    output_tokens: float | None
    cost_usd: float | None
    cost_per_accepted_usd: float | None
    #: Of the attempts that were accepted.
    latency_p50_s: float | None
    latency_p95_s: float | None


def measure_side(columns: Columns, at: Places, title: str, connection: sa.Connection) -> Figures:
    """The figures of a side, over the rows at these places."""
    keys = np.unique(columns.keys[at])
    n_accepted = int((columns.states[at] == ACCEPTED).sum())
    tally = _Tally()
    took = stream_took(connection, columns.side.version.prompt_hash)
    while some := list(islice(took, _AT_ONCE)):
        for one in _take_among(some, keys):
            tally.add(one)
    n = len(keys) if tally.n_attempts else 0
    cost = tally.cost_usd if tally.n_attempts and not tally.n_unpriced else None
    times = np.frombuffer(tally.latencies_s, np.float64)
    return Figures(
        title,
        n_requests=len(keys),
        n_attempts=tally.n_attempts,
        n_accepted=n_accepted,
        input_tokens=tally.input_tokens / n if n else None,
        output_tokens=tally.output_tokens / n if n else None,
        cost_usd=cost,
        cost_per_accepted_usd=cost / n_accepted if cost is not None and n_accepted else None,
        latency_p50_s=float(np.percentile(times, 50)) if len(times) else None,
        latency_p95_s=float(np.percentile(times, 95)) if len(times) else None,
    )


class _Tally:
    def __init__(self) -> None:
        self.n_attempts = self.n_unpriced = self.input_tokens = self.output_tokens = 0
        self.cost_usd = 0.0
        self.latencies_s = array("d")

    def add(self, one: Took) -> None:
        self.n_attempts += 1
        self.input_tokens += one.input_tokens or 0
        self.output_tokens += one.output_tokens or 0
        self.cost_usd += one.cost_usd or 0.0
        self.n_unpriced += one.cost_usd is None and (one.outcome == "accepted" or bool(one.input_tokens))
        if one.outcome == "accepted" and one.latency_s is not None:
            self.latencies_s.append(one.latency_s)


def _take_among(some: list[Took], keys: Hashes) -> Iterator[Took]:
    if not len(keys):
        return iter(())
    wanted = np.array([int(one.request_key[:16], 16) for one in some], np.uint64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return (one for one, is_there in zip(some, keys[at] == wanted, strict=True) if is_there)
