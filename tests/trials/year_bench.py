"""Great Expectations for all processes of a year: its import takes seconds, so one judge serves them over a socket."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

from overnight.checks import BatchValidator, Checks, parse_checks
from overnight.records import BatchVerdict


class Judge:
    """
    A validator that has another process judge.

    Args:
        address: A socket's path; empty: nobody is asked, and no rule of a batch is broken.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def validate(self, rows: list[dict[str, Any]], *, checks: Checks, suite_name: str, docs_dir: Path) -> BatchVerdict:
        """What `BatchValidator.validate` says there."""
        if not self._address:
            return BatchVerdict((), (), (), (), 0, None)
        with Client(self._address) as connection:
            connection.send((rows, checks.batch, suite_name, docs_dir))
            verdict = connection.recv()
        assert isinstance(verdict, BatchVerdict), verdict
        return verdict


@contextmanager
def open_bench(address: str) -> Iterator[str]:
    """The judge's address, for as long as the context lasts."""
    with closing(BatchValidator()) as validator, Listener(address) as listener:
        validator.start()
        thread = threading.Thread(target=_serve, args=(listener, validator), daemon=True)
        thread.start()
        try:
            yield address
        finally:
            with Client(address) as connection:
                connection.send(None)
            thread.join(30)


def _serve(listener: Listener, validator: BatchValidator) -> None:
    while True:
        # Who asked may be killed at any moment.
        with contextlib.suppress(EOFError, OSError), listener.accept() as connection:
            if (given := connection.recv()) is None:
                return
            rows, rules, suite_name, docs_dir = given
            checks = replace(parse_checks('{"row": [], "batch": []}', prompt=suite_name), batch=rules)
            connection.send(validator.validate(rows, checks=checks, suite_name=suite_name, docs_dir=docs_dir))
