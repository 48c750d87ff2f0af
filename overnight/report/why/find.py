"""Finding a row in the runs: by the ledger's indexes first, then in the parts, newest run first."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from overnight.failures import OvernightError, PartRefused
from overnight.ledger.manifests import list_last_batches
from overnight.ledger.places import (
    Place,
    find_offered,
    guess_share,
    list_asking_runs,
    list_offering_runs,
    list_request_keys,
    list_sent,
)
from overnight.ledger.queries import list_runs
from overnight.parts import find_row, read_part
from overnight.place import PartsPlace
from overnight.records import Batch, CheckedBatch, CompletedBatch
from overnight.report.why.start import Start

#: Runs that are searched for a row, newest first.
_N_RUNS = 1000

Manifest = Batch | CompletedBatch | CheckedBatch


@dataclass(frozen=True)
class Found:
    """A row of a run at each step that it reached, or a request that no run's parts hold."""

    run_id: str | None
    request_key: str | None
    #: The rows as the parts have them, each with its step, the run, and the manifest of its batch.
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Search:
    """One search: in one run, or in all."""

    connection: sa.Connection
    place: PartsPlace
    #: The run to look in; None: the newest that holds the row.
    run_id: str | None
    #: Parts by digest that were searched for a value and do not have it: runs over the same rows share them.
    _without: set[tuple[str, str]] = field(default_factory=set)

    def find(self, start: Start) -> Found | None:
        """
        The row that `start` leads to.

        Raises:
            OvernightError: The digits are the beginning of several keys.
        """
        if start.request_key:
            return self._find_by_key(start.request_key, start.row_id)
        if start.digits:
            if start.row_id and (place := self._find_offering(start.row_id)):
                return self._find_in_run(place)
            if found := self._find_by_digits(start):
                return found
        return self._find_by_id(start.row_id or "")

    def _find_by_digits(self, start: Start) -> Found | None:
        digits = start.digits or ""
        keys = list_request_keys(self.connection, digits)
        if len(keys) > 1:
            listed = ", ".join(keys)
            raise OvernightError(f"{digits} is the beginning of several request keys: {listed}. Give more of one.")
        if keys:
            return self._find_by_key(keys[0], None)
        sent = list_sent(self.connection, digits, self.run_id) if start.is_whole else []
        return self._find_in_run(sent[0]) if sent else None

    def _find_by_key(self, key: str, row_id: str | None) -> Found | None:
        """The newest run that holds the key: one that offered the row, or one that asked for it."""
        if row_id and (place := self._find_offering(row_id, key)):
            return self._find_in_run(place)
        for run in [self.run_id] if self.run_id else self._list_likely_runs(key):
            for batch in self._list_likely_batches(run, key):
                if row := self._take_row(batch, "request_key", key):
                    place = Place(run, row["row_id"], key, batch.step)
                    # A newer run that offered the same answer took it as a hit, which no attempt tells.
                    newer = None if self.run_id else self._find_offering(place.row_id, key)
                    is_here = newer is None or newer.run_id == run
                    return (
                        self._find_in_run(place, _join(row, run, batch))
                        if is_here
                        else self._find_in_run(newer or place)
                    )
        return None if self.run_id else Found(None, key)

    def _list_likely_batches(self, run_id: str, key: str) -> list[Manifest]:
        """All batches, those first that were asked at about the time of the request."""
        batches = list_last_batches(self.connection, run_id)
        ends = list(accumulate(batch.part.n_rows for batch in batches))
        at = guess_share(self.connection, key, run_id) * (ends[-1] if ends else 0)
        nearest = sorted(zip(ends, batches, strict=True), key=lambda pair: abs(pair[0] - pair[1].part.n_rows / 2 - at))
        return [batch for _, batch in nearest]

    def _list_likely_runs(self, key: str) -> list[str]:
        """Those that sent the request, then those that may have taken its answer as a hit; newest first."""
        return list(dict.fromkeys([*list_asking_runs(self.connection, key), *self._list_runs()]))

    def _list_runs(self) -> list[str]:
        return [self.run_id] if self.run_id else [run["run_id"] for run in list_runs(self.connection, _N_RUNS)]

    def _find_by_id(self, row_id: str) -> Found | None:
        """The newest run whose parts hold the row; of one that has offered it the ledger knows."""
        offering = set(list_offering_runs(self.connection, row_id))
        for run in self._list_runs():
            place = find_offered(self.connection, row_id, run_id=run) if run in offering else None
            if found := self._find_in_run(place or Place(run, row_id)):
                return found
        return None

    def _find_offering(self, row_id: str, key: str | None = None) -> Place | None:
        return find_offered(self.connection, row_id, run_id=self.run_id, request_key=key)

    def _find_in_run(self, place: Place, known: dict[str, Any] | None = None) -> Found | None:
        """The row at each step of the run; where the parts are gone, as far as the ledger has it."""
        found = {known["step"]: known} if known else {}
        for batch in list_last_batches(self.connection, place.run_id):
            # A row stands in one batch of a step.
            if batch.step not in found and (row := self._take_row(batch, "row_id", place.row_id)):
                found[batch.step] = _join(row, place.run_id, batch)
        if place.request_key and place.step not in found:
            found[place.step] = _remember(place)
        rows = [found[step] for step in sorted(found)]
        return Found(place.run_id, place.request_key, rows) if rows else None

    def _take_row(self, batch: Manifest, column: str, value: str) -> dict[str, Any] | None:
        if (batch.part.digest, value) in self._without:
            return None
        try:
            at = find_row(batch.part, self.place, column, value)
            # Only what is told is verified.
            row = None if at is None else read_part(batch.part, self.place).slice(at, 1).to_pylist()[0]
        except PartRefused:
            row = None
        if row and row[column] == value:
            return row
        self._without.add((batch.part.digest, value))
        return None


def _join(row: dict[str, Any], run_id: str, batch: Manifest) -> dict[str, Any]:
    return row | {"run_id": run_id, "step": batch.step, "batch": batch}


def _remember(place: Place) -> dict[str, Any]:
    """What the ledger alone says of a row that was offered: its part is gone."""
    nothing = dict.fromkeys(("row_number", "output", "failure_class", "rule", "reason", "model", "batch"))
    known = {"row_id": place.row_id, "request_key": place.request_key, "run_id": place.run_id, "step": place.step}
    return nothing | known | {"state": "accepted", "input": None, "is_part_gone": True}
