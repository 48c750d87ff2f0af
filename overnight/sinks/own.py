"""A sink of the project's own: a class that pyproject.toml names, held to the contract."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from overnight.failures import OvernightError, SinkRefused
from overnight.records import OwnSink, Payload
from overnight.sinks.contract import Consignment, Outcome, Sink
from overnight.sinks.errors import DeliveryUnknown

T = TypeVar("T")

_EFFECTS = ("reversible", "irreversible")


class GuardedSink(Sink):
    """The project's sink, whose own faults end a delivery as one whose answer was lost."""

    def __init__(self, name: str, sink: Sink) -> None:
        self._name = name
        self._sink = sink
        # What the class declares stands for this one.
        self.effect = sink.effect  # type: ignore[misc]
        self.operation = sink.operation  # type: ignore[misc]
        self.dedupes = sink.dedupes  # type: ignore[misc]
        self.n_at_once = sink.n_at_once  # type: ignore[misc]

    def check(self, sample: Payload) -> None:
        """As the project's."""
        self._guard(lambda: self._sink.check(sample))

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """As the project's; one outcome a row, or it may all have been taken."""
        outcomes = self._guard(lambda: self._sink.deliver(consignment))
        if len(outcomes) != len(consignment.payloads):
            raise DeliveryUnknown(
                f"Sink {self._name!r} gave {len(outcomes)} outcomes for {len(consignment.payloads)} rows. Look there"
                " what arrived, and mend its class."
            )
        return outcomes

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:
        """As the project's."""
        return self._guard(lambda: self._sink.recall(consignment, before))

    def close(self) -> None:
        """As the project's."""
        self._guard(self._sink.close)

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OvernightError:
            raise
        except Exception as error:  # the project's code enters here: whatever it raises is translated
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise DeliveryUnknown(
                f"Sink {self._name!r} failed ({why[:200]}): what it had in hand may have arrived. Look there, and mend"
                " its class."
            ) from error


def open_own(name: str, own: OwnSink, credential: str | None) -> Sink:
    """
    The project's sink.

    Raises:
        SinkRefused: Its class cannot be loaded, or does not declare what a sink must.
    """
    made = _load(name, own)
    try:
        return GuardedSink(name, made(own.options, credential))
    except TypeError as error:
        raise SinkRefused(
            f"The class {own.location} of sink {name!r} cannot be made ({error}). It takes its options and a"
            " credential."
        ) from error


def _load(name: str, own: OwnSink) -> Callable[[object, str | None], Sink]:
    module, _, called = own.location.partition(":")
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    try:
        found = getattr(importlib.import_module(module), called)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise SinkRefused(
            f"The class {own.location} of sink {name!r} cannot be loaded ({error}). Mend [tool.overnight.sinks] in"
            " pyproject.toml, or the module."
        ) from error
    if not isinstance(found, type) or not issubclass(found, Sink):
        raise SinkRefused(f"{own.location} of sink {name!r} is no class over overnight.sinks.RowSink. Make it one.")
    missing = [word for word in ("effect", "operation", "dedupes") if not hasattr(found, word)]
    if missing or found.effect not in _EFFECTS:
        what = missing[0] if missing else f"an effect of {' or '.join(_EFFECTS)}"
        raise SinkRefused(f"{own.location} of sink {name!r} does not declare {what}. Say it: see docs/sinks.md.")
    return found
