"""What machines share: the place of parts, and the cluster that completes batches; where the settings name them."""

from __future__ import annotations

import importlib.util
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.failures import OvernightError
from overnight.parts.probe import probe_place
from overnight.settings import Settings

_PARTS, _DASK = "place of parts", "dask"
_ANSWERS_S = 5.0
_FORMS = "Set OVERNIGHT_DASK to tcp://HOST:PORT of a scheduler, or local:N for N workers on this machine."


def look_at_place(settings: Settings) -> Iterator[Finding]:
    """That parts can be written, read and deleted where OVERNIGHT_PARTS_URL says."""
    if settings.parts_url is None:
        return
    place = settings.parts
    if isinstance(place, Path) and not place.exists():
        remedy = (
            "The first run makes it. Where it should be a mounted one, mount it first: else parts stay on this disk."
        )
        yield warn(_PARTS, f"the folder {place} is not there", remedy)
        return
    try:
        probe_place(place)
    except OvernightError as error:
        remedy = "Every machine of a run writes and reads there: see OVERNIGHT_PARTS_URL, its rights and its network."
        yield fail(_PARTS, str(error), remedy)
        return
    yield ok(_PARTS, f"a small file was written to {settings.parts_url}, read and deleted")


def look_at_dask(settings: Settings) -> Iterator[Finding]:
    """Whether anybody listens where OVERNIGHT_DASK says; its workers are not asked."""
    named = settings.dask
    if named is None:
        return
    if importlib.util.find_spec("prefect_dask") is None:
        yield fail(_DASK, "prefect-dask is not installed", "Install overnight[dask] here and on all workers.")
    elif re.fullmatch(r"local:[1-9]\d*", named):
        yield ok(_DASK, f"{named}: a run starts its workers on this machine")
    elif re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", named):
        yield _connect(named)
    else:
        yield fail(_DASK, f"OVERNIGHT_DASK is {named!r}, which names no cluster", _FORMS)


def _connect(named: str) -> Finding:
    try:
        parts = urlsplit(named)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_ANSWERS_S):
            pass
    except (OSError, ValueError, OvernightError) as error:
        remedy = "Start it (`dask scheduler`) and its workers, or see that this machine may reach it."
        return fail(_DASK, f"no scheduler can be reached at {named} ({error})", remedy)
    return ok(_DASK, f"somebody listens at {named}; whether it has workers, each run sees before it asks anybody")
