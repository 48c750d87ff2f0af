"""What the answers of one batch have in common, which no rule over a single row can see."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from overnight.checks.text import as_text, normalise
from overnight.keys import canonical_json, digest_bytes


class BatchMemory:
    """Which inputs of a batch have which value in a field; one current value an input. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By field and normalised value: digests of the inputs.
        self._inputs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        #: By digest of the input: where it is entered.
        self._entries: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)

    def enter(self, given: Mapping[str, Any], field: str, value: Any) -> int:
        """Enter an input's value in a field; the number of other inputs that have it."""
        digest, entry = _digest(given), (field, normalise(as_text(value)))
        with self._lock:
            self._entries[digest].add(entry)
            self._inputs[entry].add(digest)
            return len(self._inputs[entry]) - 1

    def forget(self, given: Mapping[str, Any]) -> None:
        """Take an input's values out again."""
        digest = _digest(given)
        with self._lock:
            for entry in self._entries.pop(digest, ()):
                self._inputs[entry].discard(digest)


def _digest(given: Mapping[str, Any]) -> str:
    return digest_bytes(canonical_json(dict(given)))
