"""From the accepted answers of one prompt to the input of the next: the same rows under the same ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from overnight.failures import InputRefused
from overnight.intake.batches import cut_batches
from overnight.intake.source_rows import Columns, SourceRow, list_names
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Batch, CheckedBatch, Prompt, RowState

#: The values of a field that a row is taken for.
Where = Mapping[str, Sequence[Any]]


def chain_rows(
    checked: Sequence[CheckedBatch], *, answered: Prompt, prompt: Prompt, where: Where | None, place: PartsPlace
) -> Iterator[Batch]:
    """
    Stream the accepted rows of a step as input batches of the next: what it was given, and what was answered.

    Args:
        checked: The batches of the step before.
        answered: Its prompt.
        prompt: The prompt that reads them.
        where: Take only rows whose fields have one of these values; None: all.
        place: Where parts are read and written.

    Raises:
        InputRefused: A column that the prompt or `where` names is not there, or is there twice.
    """
    _refuse_unfit(answered, prompt, where or {})
    rows = _take(checked, where or {}, {*prompt.inputs, *prompt.optional_inputs}, place)
    # Rows keep their ids, whatever column the prompt would name them by in a source of its own.
    columns = Columns("row_id", prompt.inputs, prompt.optional_inputs)
    for batch in cut_batches(rows, columns, place):
        yield replace(batch, step=checked[0].step + 1)


def _take(checked: Iterable[CheckedBatch], where: Where, wanted: set[str], place: PartsPlace) -> Iterator[SourceRow]:
    for batch in checked:
        for row in read_part(batch.part, place).to_pylist():
            if row["state"] != RowState.ACCEPTED:
                continue
            values = {**orjson.loads(row["input"]), **orjson.loads(row["output"])}
            if all(values.get(name) in allowed for name, allowed in where.items()):
                kept = {name: value for name, value in values.items() if name in wanted}
                yield SourceRow(row["row_number"], row["row_id"], kept)


def _refuse_unfit(answered: Prompt, prompt: Prompt, where: Where) -> None:
    given = {*answered.inputs, *answered.optional_inputs}
    fields = set(orjson.loads(answered.schema)["properties"])
    missing = [name for name in (*prompt.inputs, *where) if name not in given | fields]
    if missing:
        raise InputRefused(
            f"Prompt {prompt.name} is to read {list_names(missing)}, which prompt {answered.name} neither reads nor"
            f" answers; there are {list_names(sorted(given | fields))}. Change its inputs, or the flow's where."
        )
    twice = [name for name in (*prompt.inputs, *prompt.optional_inputs, *where) if name in given & fields]
    if twice:
        raise InputRefused(
            f"Prompt {answered.name} both reads and answers {list_names(twice)}, so prompt {prompt.name} cannot tell"
            " which is meant. Rename the field in its output.schema.json."
        )
