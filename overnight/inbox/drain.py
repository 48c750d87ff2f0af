"""A run takes requests out of the inbox and pins them: all that it took, or nothing."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.failures import RunHalted
from overnight.intake.inbox import InboxSource, read_requests
from overnight.ledger import Ledger
from overnight.ledger.inbox_takes import Lot, count_held, give_back, hold, lock_run, take
from overnight.ledger.leases import Worker
from overnight.ledger.manifests import find_batches, record_batches
from overnight.ledger.runs import pin_source
from overnight.place import PartsPlace
from overnight.records import Batch, Prompt

#: The most requests of one run, and those of a transaction: other writers wait as long as it takes.
MOST_ROWS = 100_000
_N_AT_ONCE = 2000


def pin_requests(
    source: InboxSource,
    prompt: Prompt,
    run_id: str,
    *,
    ledger: Ledger,
    place: PartsPlace,
    lease_s: float,
    limit: int | None = None,
) -> list[Batch]:
    """
    Take what waits and pin it as the run's input, in order of arrival; nothing where nothing waits.

    A process that ends in between leaves what it took to the next run, or to its own run where that is put back first.
    One that stood still for so long that another
    run has taken some of it pins nothing.

    Args:
        source: Whose requests.
        prompt: Which reads them first.
        run_id: Who takes them; it has been recorded.
        ledger: Where both are.
        place: Where parts are written.
        lease_s: How long what is taken outlives the last sign of the process's life.
        limit: Take so many at the most; never more than `MOST_ROWS`.

    Raises:
        RunHalted: Another run has taken some of them meanwhile, or the run has been given its input by another process.
        InputRefused: They are for another prompt.
    """
    worker = get_worker(ledger, lease_s)
    ledger.write(lambda connection: _give_back_unpinned(connection, run_id))
    taking = _Taking(source, run_id, ledger, worker)
    try:
        batches = list(read_requests(source, taking.stream(min(limit or MOST_ROWS, MOST_ROWS)), prompt, place))
        reach("before-pinned")
        if batches:
            ledger.write(lambda connection: taking.pin(connection, batches))
    except BaseException:
        ledger.write(lambda connection: give_back(connection, run_id, worker))
        raise
    reach("after-pinned")
    return batches


def take_up(run_id: str, *, ledger: Ledger, lease_s: float) -> None:
    """Keep what the run has pinned for the process that continues it."""
    worker = get_worker(ledger, lease_s)
    ledger.write(lambda connection: hold(connection, run_id, worker))


def _give_back_unpinned(connection: sa.Connection, run_id: str) -> None:
    """What a process of the run had taken when it was killed: in no batch of the run, nobody would ever answer it."""
    lock_run(connection, run_id)
    if not find_batches(connection, run_id, Batch, step=1):
        give_back(connection, run_id)


class _Taking:
    def __init__(self, source: InboxSource, run_id: str, ledger: Ledger, worker: Worker) -> None:
        self._source = source
        self._run_id = run_id
        self._ledger = ledger
        self._worker = worker
        self._seen: set[str] = set()
        self._after = 0

    def stream(self, limit: int) -> Iterator[tuple[str, str]]:
        """The row id and input of each request, as it is taken."""
        while len(self._seen) < limit:
            lot = self._ledger.write(self._take(min(_N_AT_ONCE, limit - len(self._seen))))
            reach("after-taken")
            if lot.last is None:
                return
            self._after = lot.last
            self._seen |= {request.row_id for request in lot.taken}
            yield from ((request.row_id, request.input_json) for request in lot.taken)

    def pin(self, connection: sa.Connection, batches: list[Batch]) -> None:
        """Make what was taken the run's input, if all of it is this process's still."""
        lock_run(connection, self._run_id)
        n_left = count_held(connection, self._run_id, self._worker)
        if n_left != len(self._seen) or find_batches(connection, self._run_id, Batch, step=1):
            raise RunHalted(
                f"This process stood still for longer than its lease, and {len(self._seen) - n_left:,} of the"
                f" {len(self._seen):,} requests that run {self._run_id} took of {self._source} are another's now."
                " Nothing was asked: the others wait for the next run."
            )
        pin_source(connection, self._run_id, str(self._source))
        record_batches(connection, self._run_id, batches)

    def _take(self, n_rows: int) -> Callable[[sa.Connection], Lot]:
        return functools.partial(
            take,
            prompt=self._source.prompt,
            run_id=self._run_id,
            worker=self._worker,
            after=self._after,
            n_rows=n_rows,
            seen=self._seen,
        )


_registering = threading.Lock()
_workers: WeakKeyDictionary[Ledger, Worker] = WeakKeyDictionary()


def get_worker(ledger: Ledger, lease_s: float) -> Worker:
    """The process's worker at this ledger: its lease runs until the process ends."""
    with _registering:
        found = _workers.get(ledger)
        if found is None:
            found = _workers[ledger] = ledger.register(lease_s)
        return found
