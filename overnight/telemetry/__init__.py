"""
Spans and metrics over OTLP, in OpenTelemetry's conventions for generative AI; no word of a row unless asked for.

On where the environment names a collector and `overnight[telemetry]` is installed. It never fails a run: what keeps it
from working comes back as one line for whoever logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overnight.telemetry.conventions import SendFacts
from overnight.telemetry.wanted import TelemetryRefused, Wanted, find_wanted

if TYPE_CHECKING:
    from overnight.telemetry.spans import Telemetry

__all__ = ["SendFacts", "open_telemetry"]


def open_telemetry() -> tuple[Telemetry | None, str | None]:
    """Telemetry as the environment asks for it, or None; and where it is asked for in vain, why, in one line."""
    try:
        wanted = find_wanted()
        return (_open(wanted) if wanted else None), None
    except TelemetryRefused as refused:
        return None, str(refused)


def _open(wanted: Wanted) -> Telemetry:
    try:
        from overnight.telemetry.providers import open_providers  # noqa: PLC0415 - of an extra, and a third of a second
        from overnight.telemetry.spans import Telemetry  # noqa: PLC0415 - the same
    except ImportError as error:
        raise TelemetryRefused(
            f"{wanted.variable} is set, but what exports telemetry is not installed ({error.name} is missing): nothing"
            " is exported. Install overnight[telemetry], or unset the variable."
        ) from error
    try:
        return Telemetry(open_providers(wanted), captures=wanted.captures)
    # What OpenTelemetry makes of its many variables, plug-ins and files among them.
    except (
        ArithmeticError,
        AttributeError,
        ImportError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as e:
        # Its words may hold a header's value.
        raise TelemetryRefused(
            f"{wanted.variable} is set, but telemetry cannot be set up ({type(e).__name__}): nothing is exported. Look"
            " for a malformed value among the OTEL_ variables."
        ) from e
