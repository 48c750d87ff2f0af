"""Opening sinks: by address, by a name that the project declares, or a class of the project's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlencode

from overnight.deliver.answering import InboxPlace
from overnight.failures import SinkRefused
from overnight.payloads import sink_name
from overnight.records import OwnSink, SinkFacts
from overnight.settings import Settings
from overnight.sinks import Sink, open_sink


def name_sink(given: str, settings: Settings) -> str:
    """
    The name of a sink that is given by its address, or by what pyproject.toml calls it.

    Raises:
        SinkRefused: The address is incomplete, or there is no such name.
    """
    declared = settings.sinks.get(given, given)
    if isinstance(declared, OwnSink):
        options = urlencode(sorted(declared.options.items()))
        return f"own:{given}" + (f"?{options}" if options else "")
    if declared.startswith("own:"):
        _find_own(declared, settings)
        return declared
    return sink_name(declared)


def describe_sink(given: str, settings: Settings) -> SinkFacts:
    """
    What a sink is, before anything is paid for; nothing is sent.

    Raises:
        SinkRefused: Its address is not one that may be written to.
        DeliveryDeferred: Its host cannot be found now.
    """
    name = name_sink(given, settings)
    with open_by_name(name, settings, credential=None) as sink:
        return SinkFacts(name, sink.operation, sink.effect)


@contextmanager
def open_by_name(
    name: str, settings: Settings, *, credential: str | None, place: InboxPlace | None = None
) -> Iterator[Sink]:
    """
    The sink while the context lasts.

    Args:
        name: As `name_sink` gives it.
        settings: What they are.
        credential: What the destination asks for.
        place: The inbox as the run may write to it, where something is delivered.
    """
    own = _find_own(name, settings) if name.startswith("own:") else None
    made = open_sink(name, allow_hosts=settings.allow_hosts, credential=credential, own=own, place=place)
    with closing(made) as sink:
        yield sink


def _find_own(name: str, settings: Settings) -> OwnSink:
    called = name.removeprefix("own:").partition("?")[0]
    found = settings.sinks.get(called)
    if not isinstance(found, OwnSink) or name_sink(called, settings) != name:
        raise SinkRefused(
            f"The sink {name!r} is not what pyproject.toml declares as {called!r} under [tool.overnight.sinks] now. Put"
            " it back, or run the flow again and review it for the new one."
        )
    return found
