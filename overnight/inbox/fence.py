"""The fence: rows that a run took and has lost are not its to offer."""

from __future__ import annotations

from overnight.intake.inbox import parse_inbox
from overnight.ledger import Ledger
from overnight.ledger.inbox_takes import count_own, find_owners, list_own
from overnight.ledger.manifests import find_batches
from overnight.ledger.runs import find_source
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Batch

#: Who has what no run has yet.
NEXT_RUN = "the next run"


def find_lost(run_id: str, *, ledger: Ledger, place: PartsPlace) -> dict[str, str]:
    """
    The rows of a run that came from the inbox and are another's now: who has each, by row id.

    Raises:
        PartRefused: A part of the run is missing or altered.
    """
    with ledger.reading() as connection:
        source = parse_inbox(find_source(connection, run_id) or "")
        given = find_batches(connection, run_id, Batch, step=1) if source else []
        if source is None or count_own(connection, run_id) == sum(batch.n_rows for batch in given):
            return {}
        own = list_own(connection, run_id)
        read = [row["row_id"] for batch in given for row in read_part(batch.part, place).select(["row_id"]).to_pylist()]
        lost = [row_id for row_id in read if row_id not in own]
        owners = find_owners(connection, source.prompt, lost)
    return {row_id: owners.get(row_id) or NEXT_RUN for row_id in lost}
