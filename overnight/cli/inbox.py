"""`overnight submit` and `inbox`: requests are handed in, counted and looked up."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.failures import InputRefused, OvernightError
from overnight.inbox import Submitted, count, find, keep, look, make_arrival
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.inbox import Arrival, InboxCount, InboxRequest
from overnight.prompts import load_prompt
from overnight.records import InboxState, Prompt
from overnight.settings import Settings

#: Rows of one transaction.
_N_AT_ONCE = 1000
_KEY = re.compile(r"[0-9a-f]{64}")
_WAITING = {InboxState.QUEUED: "the next run takes it", InboxState.TAKEN: "its run has not let an answer out yet"}


def submit_rows(
    prompt_name: str, *, rows: tuple[str, ...], file: Path | None, shows: bool, by: str | None, as_json: bool
) -> None:
    """Keep the rows up to the first that is refused, some at a time; print the key of each once it is on disk."""
    if not rows and file is None:
        raise OvernightError("There is nothing to submit. Give --row JSON, or --file ROWS.jsonl.")
    prompt, ledger = load_prompt(prompt_name), open_ledger(Settings.from_env().ledger_url)
    given, n_kept, fault = _read_arrivals(rows, file, prompt, by or find_login()), 0, None
    while fault is None:
        some, fault = _gather(given)
        if not some:
            break
        for one in keep(some, ledger=ledger):
            _tell(one, ledger, shows=shows, as_json=as_json)
        n_kept += len(some)
    if fault and n_kept:
        raise InputRefused(f"{fault} Rows before it that were kept: {n_kept:,}.") from fault
    if fault:
        raise fault


def show_inbox(what: str | None, *, as_json: bool) -> None:
    """Print how many requests stand where, or one of them."""
    ledger = get_ledger(Settings.from_env())
    if what and _KEY.fullmatch(what):
        request = look(what, ledger=ledger)
        if request is None:
            raise OvernightError(f"There is no request {what}. `overnight submit` prints the key of each.")
        print_json(_as_object(request)) if as_json else _show(request)
        return
    found = count(what, ledger=ledger)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo(f"Nothing has come in{f' for {what}' if what else ''}. `overnight submit PROMPT --row JSON`.")


def _gather(given: Iterator[Arrival]) -> tuple[list[Arrival], InputRefused | None]:
    """The next rows, and what is wrong with the one after them."""
    some: list[Arrival] = []
    try:
        for arrival in islice(given, _N_AT_ONCE):
            some.append(arrival)  # noqa: PERF402 - those before a fault are wanted
    except InputRefused as fault:
        return some, fault
    return some, None


def _read_arrivals(rows: Iterable[str], file: Path | None, prompt: Prompt, sent_by: str) -> Iterator[Arrival]:
    for where, text in _read_texts(rows, file):
        row = _parse(text, where)
        try:
            arrival = make_arrival(row, prompt, sent_by=sent_by, now=time.time())
        except InputRefused as error:
            raise InputRefused(f"{where} is refused: {error}") from error
        yield arrival


def _read_texts(rows: Iterable[str], file: Path | None) -> Iterator[tuple[str, str | bytes]]:
    """Each row's text, after where it stands."""
    for n, text in enumerate(rows, 1):
        yield f"--row {n}", text
    if file is None:
        return
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as lines:
            for n, line in enumerate(lines, 1):
                if not line.isspace():
                    yield f"Line {n} of {file}", line
    except OSError as error:
        raise InputRefused(f"{file} cannot be read ({error.strerror}). Check the path.") from error


def _parse(text: str | bytes, where: str) -> Mapping[str, Any]:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputRefused(f"{where} is not JSON ({error}). Give one object a row.") from error
    if not isinstance(row, dict):
        raise InputRefused(f'{where} is no JSON object. Give one a row, such as {{"id": "1"}}.')
    return row


def _tell(made: Submitted, ledger: Ledger, *, shows: bool, as_json: bool) -> None:
    request = find(made.inbox_key, ledger=ledger) if shows else None
    if as_json:
        print_json(asdict(made) | (_as_object(request) if request else {}))
        return
    click.echo(made.inbox_key)
    if request:
        _show(request)


def _as_object(request: InboxRequest) -> dict[str, Any]:
    """The answer as JSON, not as a text that holds it."""
    found = asdict(request)
    found.pop("delivery_key")
    return found | {"answer": orjson.loads(request.answer) if request.answer is not None else None}


def _show(request: InboxRequest) -> None:
    run = f", run {request.run_id}" if request.run_id else ""
    why = request.reason or _WAITING.get(request.state, "")
    click.echo(f"{request.prompt} {request.row_id}: {request.state}{run}{f': {why}' if why else ''}")
    if request.answer is not None:
        click.echo(orjson.dumps(orjson.loads(request.answer), option=orjson.OPT_INDENT_2).decode())


def _line(one: InboxCount) -> str:
    oldest = datetime.fromtimestamp(one.oldest_at).astimezone()
    return f"{one.prompt}  {one.state:9} {one.n:>9,}, the oldest of {oldest:%Y-%m-%d %H:%M}"
