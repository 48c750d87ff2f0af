"""What the standard OTEL_ variables ask for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from overnight.failures import OvernightError

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_CAPTURES = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class TelemetryRefused(OvernightError):
    """Telemetry is asked for and cannot work; the run goes on without it."""


@dataclass(frozen=True)
class Wanted:
    """Which signals are exported."""

    #: The variable that names the collector.
    variable: str
    #: Its host and port.
    host: str
    spans: bool
    metrics: bool
    #: Whether spans carry what was asked and answered.
    captures: bool


def find_wanted() -> Wanted | None:
    """
    What is to be exported; None: nothing.

    Raises:
        TelemetryRefused: An endpoint is no http(s) address, or its protocol is another than http/protobuf.
    """
    if _read("OTEL_SDK_DISABLED").lower() == "true":
        return None
    spans, metrics = _find_variable("TRACES"), _find_variable("METRICS")
    variable = spans or metrics
    if variable is None:
        return None
    hosts = [_check(name, signal) for name, signal in ((spans, "TRACES"), (metrics, "METRICS")) if name]
    captures = _read(_CAPTURES).lower() == "true"
    return Wanted(variable, hosts[0], spans is not None, metrics is not None, captures)


def _read(name: str) -> str:
    return os.environ.get(name, "").strip()


def _find_variable(signal: str) -> str | None:
    """The variable that says where this signal goes, unless it is switched off."""
    if _read(f"OTEL_{signal}_EXPORTER").lower() == "none":
        return None
    names = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", _ENDPOINT)
    return next((name for name in names if _read(name)), None)


def _check(variable: str, signal: str) -> str:
    """The host of the signal's endpoint; the address itself may hold a password, so no line shows it."""
    own = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    named = own if _read(own) else _PROTOCOL
    if _read(named) not in {"", "http/protobuf"}:
        raise TelemetryRefused(
            f"{named} is {_read(named)!r}, and telemetry is sent as http/protobuf alone: nothing is exported. Name"
            f" that, and in {variable} the collector's port for it, which is 4318 by default."
        )
    try:
        parts = urlsplit(_read(variable))
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise TelemetryRefused(
            f"{variable} is not an http(s) address: no telemetry is exported. Set it like http://127.0.0.1:4318."
        )
    return parts.netloc.rpartition("@")[2]
