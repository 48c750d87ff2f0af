"""Requests from outside as a source: `inbox:PROMPT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from overnight.failures import InputRefused
from overnight.intake.batches import cut_batches
from overnight.intake.source_rows import Columns, SourceRow
from overnight.place import PartsPlace
from overnight.records import Batch, Prompt

_SCHEME = "inbox:"


@dataclass(frozen=True)
class InboxSource:
    """Whose requests are read."""

    #: The name of the prompt that they are for.
    prompt: str

    def __str__(self) -> str:
        """As it is given on the command line."""
        return _SCHEME + self.prompt


def parse_inbox(source: str) -> InboxSource | None:
    """
    What the source means; None where it is something else.

    Raises:
        InputRefused: It names no prompt.
    """
    if not source.startswith(_SCHEME):
        return None
    prompt = source.removeprefix(_SCHEME)
    if not prompt:
        raise InputRefused(f"The source {source!r} names no prompt. Give inbox:PROMPT; `overnight inbox` lists them.")
    return InboxSource(prompt)


def read_requests(
    source: InboxSource, requests: Iterable[tuple[str, str]], prompt: Prompt, place: PartsPlace
) -> Iterator[Batch]:
    """
    Stream requests as batches, in order of arrival; a column that a prompt declares since they came in is empty.

    Args:
        source: Where they are from.
        requests: The row id and the input, as JSON, of each.
        prompt: Which reads them first.
        place: Where parts are written.

    Raises:
        InputRefused: They are for another prompt.
    """
    if source.prompt != prompt.name:
        raise InputRefused(
            f"The source {source} holds requests to {source.prompt}, and the flow reads it by prompt {prompt.name}."
            f" Give inbox:{prompt.name}."
        )
    columns = Columns("row_id", prompt.inputs, prompt.optional_inputs)
    yield from cut_batches(_read(requests, columns), columns, place)


def _read(requests: Iterable[tuple[str, str]], columns: Columns) -> Iterator[SourceRow]:
    for number, (row_id, given) in enumerate(requests, 1):
        values = orjson.loads(given)
        kept = {name: values.get(name) for name in columns.inputs}
        kept |= {name: values[name] for name in columns.optional_inputs if name in values}
        yield SourceRow(number, row_id, kept)
