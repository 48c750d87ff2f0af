"""Here: versions that work together, room and rights in the home, keys in files, clocks, notices."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from overnight import __version__
from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.failures import OvernightError
from overnight.notices import refuse_malformed
from overnight.settings import Settings

_MIB = 2**20
#: Room that a night should find, and that a ledger needs to close what it has open.
_LITTLE, _TOO_LITTLE = 2048 * _MIB, 200 * _MIB
#: Seconds that two clocks may differ: by more a code of a reviewer is refused; by half of that it soon will be.
_OFF_S, _FAR_OFF_S = 15.0, 30.0


def look_at_versions() -> Iterator[Finding]:
    """Packages whose other versions are known to fail in silence: schedules that never fire, deploys refused."""
    wrong = [line for line in map(_find_unfit, requires("overnight") or []) if line]
    if wrong:
        remedy = "Install requirements.lock, or the versions that overnight asks for."
        yield fail("packages", "; ".join(wrong), remedy)
    else:
        yield ok("packages", f"overnight {__version__} with Prefect {version('prefect')}")


def _find_unfit(declared: str) -> str | None:
    wanted = Requirement(declared)
    if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
        return None
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    return None if wanted.specifier.contains(found, prereleases=True) else f"{wanted.name} {found} is not {wanted}"


def look_at_home(settings: Settings) -> Iterator[Finding]:
    """That the home can be written to and has room, and that only its owner reads the key of approvals."""
    home = settings.home
    existing = next((folder for folder in (home, *home.parents) if folder.exists()), home)
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"overnight")
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(existing).free
    except OSError as error:
        yield fail("disk", f"{existing} cannot be written to ({error.strerror})", "Mend it, or set OVERNIGHT_HOME.")
        return
    said = f"{free // _MIB:,} MiB free where {home} is"
    if free < _TOO_LITTLE:
        yield fail("disk", said, "Make room: a full disk halts runs. `overnight purge` drops the texts of old ones.")
    elif free < _LITTLE:
        yield warn("disk", said, "Make room before the night: `overnight purge` drops the texts of old runs.")
    else:
        yield ok("disk", said)
    yield from _look_at_key(settings.approval_key)


def _look_at_key(key: Path) -> Iterator[Finding]:
    with contextlib.suppress(OSError):
        if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            said = f"others than its owner can read {key}: who reads it can sign"
            yield fail("approval key", said, f"Do: chmod 600 {key}")
            return
        yield ok("approval key", str(key))


def look_at_notices(settings: Settings) -> Iterator[Finding]:
    """Whether anybody is told that a run waits, or ended badly."""
    if not settings.notify:
        yield warn("notices", "nobody is told of anything", "Set OVERNIGHT_NOTIFY (docs/notices.md).")
        return
    try:
        refuse_malformed(settings.notify)
    except OvernightError as error:
        yield fail("notices", str(error), "")
        return
    yield ok("notices", f"{len(settings.notify)} services are told; nothing was sent now")


def look_at_clocks(ahead_s: dict[str, float | None]) -> Iterator[Finding]:
    """How far other clocks are ahead of this machine's, and whether it is kept right at all."""
    known = {who: s for who, s in ahead_s.items() if s is not None}
    for who, seconds in known.items():
        if abs(seconds) >= _OFF_S:
            judge = fail if abs(seconds) >= _FAR_OFF_S else warn
            said = f"the clock of {who} and this machine's are {abs(seconds):.0f} s apart"
            yield judge("clock", said, "Set both by NTP: schedules, approvals and reviewers' codes go by them.")
    if all(abs(s) < _OFF_S for s in known.values()):
        compared = f"within {_OFF_S:.0f} s of {' and '.join(known)}" if known else "compared with no other"
        yield ok("clock", f"{compared}{_describe_ntp()}")


def _describe_ntp() -> str:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = ["timedatectl", "show", "--property", "NTPSynchronized", "--value"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout.strip()  # noqa: S603 - fixed words
        return {"yes": "; kept by NTP", "no": "; not kept by NTP"}.get(said, "")
    return ""
