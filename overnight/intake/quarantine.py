"""The quarantined rows of a run as a source: `quarantine:RUN`, or `quarantine:RUN?reason=CLASS_OR_RULE`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote, unquote

import orjson

from overnight.failures import InputRefused
from overnight.intake.batches import cut_batches
from overnight.intake.source_rows import Columns, SourceRow, list_names
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Batch, CheckedBatch, CompletedBatch, RowState

_SCHEME, _REASON = "quarantine:", "?reason="


@dataclass(frozen=True)
class QuarantineSource:
    """Whose rows are read."""

    run_id: str
    #: Only of this failure class or rule; None: all.
    reason: str | None = None

    def __str__(self) -> str:
        """As it is given on the command line."""
        return _SCHEME + self.run_id + (_REASON + quote(self.reason, safe="") if self.reason else "")


@dataclass(frozen=True)
class SetAside:
    """A row that stands quarantined."""

    step: int
    row_id: str
    failure_class: str
    rule: str | None
    reason: str
    #: As canonical JSON; None where the row could not be read.
    input: str | None
    #: None where it was set aside before any call.
    request_key: str | None

    @property
    def is_asked_again(self) -> bool:
        """Whether a retry can do something about it: what the source lacks, no model answers."""
        return self.step > 1 or self.request_key is not None

    def has_reason(self, reason: str | None) -> bool:
        """Whether this is its failure class or its rule."""
        return reason is None or reason in (self.failure_class, self.rule)


def parse_quarantine(source: str) -> QuarantineSource | None:
    """
    What the source means; None where it is a file.

    Raises:
        InputRefused: It names no run.
    """
    if not source.startswith(_SCHEME):
        return None
    run_id, _, reason = source.removeprefix(_SCHEME).partition(_REASON)
    if not run_id:
        raise InputRefused(f"The source {source!r} names no run. Give quarantine:RUN; `overnight runs` lists them.")
    return QuarantineSource(run_id, unquote(reason) or None)


def list_set_aside(
    latest: Mapping[tuple[int, int], Batch | CompletedBatch | CheckedBatch], place: PartsPlace
) -> Iterator[SetAside]:
    """
    The rows that stand quarantined in a run, at any of its steps.

    Args:
        latest: Its batches as of the last stage that each reached, by step and number.
        place: Where the parts are.

    Raises:
        PartRefused: A part is missing or altered.
    """
    for (step, _), batch in sorted(latest.items()):
        if not batch.n_quarantined:
            continue
        for row in read_part(batch.part, place).to_pylist():
            if row["state"] == RowState.QUARANTINED:
                why = row["failure_class"] or "", row["rule"], row["reason"] or ""
                yield SetAside(step, row["row_id"], *why, row["input"], row["request_key"])


def read_quarantined(
    source: QuarantineSource,
    given: Sequence[Batch],
    wanted: Collection[str],
    *,
    inputs: tuple[str, ...],
    optional_inputs: tuple[str, ...],
    read_from: PartsPlace,
    place: PartsPlace,
    limit: int | None = None,
) -> Iterator[Batch]:
    """
    Stream rows as the run first read them, under the ids and numbers that they had.

    Args:
        source: Whose rows they are.
        given: What its first step read.
        wanted: The ids of the rows.
        inputs: Columns that must be there.
        optional_inputs: Columns that may be absent or empty.
        read_from: Where the run's parts are.
        place: Where parts are written.
        limit: Read this many rows at the most.

    Raises:
        InputRefused: The run did not read a column that the prompt declares now.
        PartRefused: A part is missing or altered.
    """
    columns = Columns("row_id", inputs, optional_inputs)
    yield from cut_batches(islice(_read(source, given, wanted, columns, read_from), limit), columns, place)


def _read(
    source: QuarantineSource, given: Iterable[Batch], wanted: Collection[str], columns: Columns, place: PartsPlace
) -> Iterator[SourceRow]:
    for batch in given:
        for row in read_part(batch.part, place).to_pylist():
            if row["row_id"] in wanted and row["state"] == RowState.PENDING:
                values = orjson.loads(row["input"])
                if missing := [name for name in columns.inputs if name not in values]:
                    raise InputRefused(
                        f"Run {source.run_id} did not read {list_names(missing)}, which the prompt declares now. Run"
                        " the flow on the source itself."
                    )
                kept = {name: values[name] for name in columns.select_inputs(list(values))}
                yield SourceRow(row["row_number"], row["row_id"], kept)
