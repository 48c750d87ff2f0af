"""What a run reads: files, the rows that another run set aside, or what waits in the inbox."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from overnight.failures import InputRefused
from overnight.intake import read_batches
from overnight.intake.inbox import InboxSource, parse_inbox, read_requests
from overnight.intake.quarantine import QuarantineSource, list_set_aside, parse_quarantine, read_quarantined
from overnight.ledger import Ledger
from overnight.ledger.inbox_takes import peek
from overnight.ledger.manifests import find_batches, find_latest_batches
from overnight.ledger.purged_runs import naming_purge
from overnight.ledger.queries import get_run
from overnight.ledger.retries import find_offered
from overnight.place import PartsPlace
from overnight.records import Batch, Prompt
from overnight.settings import Settings


def read_source(
    source: str, prompt: Prompt, *, ledger: Ledger, settings: Settings, place: PartsPlace
) -> Iterator[Batch]:
    """
    Stream the source as batches, each written as a part.

    Args:
        source: A file, a folder, a pattern or a URL of rows, quarantine:RUN, or inbox:PROMPT, of which nothing is
            taken here.
        prompt: Which reads them first.
        ledger: Where other runs are recorded.
        settings: Where their parts are, and how many rows to read at the most.
        place: Where parts are written.

    Raises:
        InputRefused: It cannot be read, or has no row to ask.
        PartRefused: A part of the other run is missing or altered.
        OvernightError: There is no such run.
    """
    rows = parse_quarantine(source)
    if rows is not None:
        yield from _read_again(rows, prompt, ledger, settings, place)
        return
    if inbox := parse_inbox(source):
        yield from _read_waiting(inbox, prompt, ledger, settings, place)
        return
    yield from read_batches(
        source,
        id_column=prompt.id_column,
        inputs=prompt.inputs,
        optional_inputs=prompt.optional_inputs,
        place=place,
        limit=settings.limit,
    )


def _read_waiting(
    source: InboxSource, prompt: Prompt, ledger: Ledger, settings: Settings, place: PartsPlace
) -> Iterator[Batch]:
    with ledger.reading() as connection:
        requests = ((request.row_id, request.input_json) for request in peek(connection, source.prompt))
        batches = list(read_requests(source, islice(requests, settings.limit), prompt, place))
    if not batches:
        raise InputRefused(f"Nothing waits in {source}. `overnight inbox` lists what came in, and where it stands.")
    yield from batches


def _read_again(
    source: QuarantineSource, prompt: Prompt, ledger: Ledger, settings: Settings, place: PartsPlace
) -> Iterator[Batch]:
    with ledger.reading() as connection:
        get_run(connection, source.run_id)
        given = find_batches(connection, source.run_id, Batch, step=1)
        latest = find_latest_batches(connection, source.run_id)
        offered = find_offered(connection, source.run_id)
        with naming_purge(connection, source.run_id):
            found = [row for row in list_set_aside(latest, settings.parts) if row.has_reason(source.reason)]
    wanted = {row.row_id for row in found if row.is_asked_again} - offered.keys()
    if not wanted:
        n_unread = sum(not row.is_asked_again for row in found)
        n_offered = len({row.row_id for row in found} & offered.keys())
        why = f" for {source.reason!r}" if source.reason else ""
        raise InputRefused(
            f"Run {source.run_id} has no quarantined row{why} to ask again: {n_unread:,} were set aside at intake, so"
            f" that the source has to be mended, and {n_offered:,} were offered by a retry since. `overnight quarantine"
            f" {source.run_id}` lists all."
        )
    yield from read_quarantined(
        source,
        given,
        wanted,
        inputs=prompt.inputs,
        optional_inputs=prompt.optional_inputs,
        read_from=settings.parts,
        place=place,
        limit=settings.limit,
    )
