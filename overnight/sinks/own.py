"""A sink of the project's own: a class that pyproject.toml names, held to the contract."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from overnight.failures import OvernightError, SinkRefused
from overnight.records import OwnSink, Payload
from overnight.sinks.contract import Consignment, Outcome, RowSink, Sink
from overnight.sinks.errors import DeliveryUnknown

T = TypeVar("T")

_EFFECTS = ("reversible", "irreversible")


class GuardedSink(Sink):
    """The project's sink, whose own faults end a delivery as one whose answer was lost."""

    def __init__(self, name: str, sink: Sink, credential: str | None) -> None:
        self._name = name
        self._sink = sink
        self._credential = credential
        # What the class declares stands for this one.
        self.effect = sink.effect  # type: ignore[misc]
        self.operation = sink.operation  # type: ignore[misc]
        self.dedupes = sink.dedupes  # type: ignore[misc]
        self.n_at_once = sink.n_at_once  # type: ignore[misc]
        self.replaces = sink.replaces  # type: ignore[misc]
        self.by_request = sink.by_request  # type: ignore[misc]

    def check(self, sample: Payload) -> None:
        """As the project's."""
        self._guard(lambda: self._sink.check(sample))

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """As the project's; one outcome a row, or it may all have been taken."""
        outcomes = self._quiet(self._guard(lambda: self._sink.deliver(consignment)))
        if len(outcomes) != len(consignment.payloads):
            raise DeliveryUnknown(
                f"Sink {self._name!r} gave {len(outcomes)} outcomes for {len(consignment.payloads)} rows. Look there"
                " what arrived, and mend its class."
            )
        return outcomes

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:
        """As the project's."""
        return self._quiet(self._guard(lambda: self._sink.recall(consignment, before)))

    def close(self) -> None:
        """As the project's."""
        self._guard(self._sink.close)

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OvernightError as error:
            if self._credential and self._credential in str(error):
                raise type(error)(self._mask(error)) from None
            raise
        except Exception as error:  # noqa: BLE001 - the project's code enters here: whatever it raises is translated
            raise DeliveryUnknown(
                f"Sink {self._name!r} failed ({type(error).__name__}: {self._mask(error)}): what it had in hand may"
                " have arrived. Look there, and mend its class."
            ) from None

    def _quiet(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        return [Outcome(o.is_delivered, self._mask(o.detail)) for o in outcomes]

    def _mask(self, said: object) -> str:
        """One line without the credential."""
        text = " ".join(str(said).split())
        return (text.replace(self._credential, "…") if self._credential else text)[:500]


def open_own(name: str, own: OwnSink, credential: str | None) -> Sink:
    """
    The project's sink.

    Raises:
        SinkRefused: Its class cannot be loaded, or does not declare what a sink must.
    """
    made = _load(name, own)
    try:
        sink = made(own.options, credential)
    except Exception as error:  # noqa: BLE001 - the project's code enters here too
        raise SinkRefused(
            f"The class {own.location} of sink {name!r} cannot be made ({type(error).__name__}). It takes its options"
            " and a credential: see that pyproject.toml declares what it needs."
        ) from None
    if isinstance(sink, RowSink) and sink.n_at_once != 1:
        raise SinkRefused(f"{own.location} of sink {name!r} takes one row at a time: leave n_at_once out.")
    return GuardedSink(name, sink, credential)


def _load(name: str, own: OwnSink) -> Callable[[object, str | None], Sink]:
    module, _, called = own.location.partition(":")
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    try:
        found = getattr(importlib.import_module(module), called)
    except Exception as error:  # importing runs the module
        why = " ".join(str(error).split())
        raise SinkRefused(
            f"The class {own.location} of sink {name!r} cannot be loaded ({why}). Mend [tool.overnight.sinks] in"
            " pyproject.toml, or the module."
        ) from error
    if not isinstance(found, type) or not issubclass(found, Sink):
        raise SinkRefused(f"{own.location} of sink {name!r} is no class over overnight.sinks.RowSink. Make it one.")
    missing = [word for word in ("effect", "operation", "dedupes") if not hasattr(found, word)]
    if missing or found.effect not in _EFFECTS:
        what = missing[0] if missing else f"an effect of {' or '.join(_EFFECTS)}"
        raise SinkRefused(f"{own.location} of sink {name!r} does not declare {what}. Say it: see docs/sinks.md.")
    return found
