"""The parent's side of the child process that judges batches: Great Expectations' import stays out of this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from overnight.checks.parse import Checks
from overnight.failures import OvernightError, SuiteRefused
from overnight.records import BatchVerdict, RowFailure

_WORKER = "overnight.checks.worker"
_TAIL_CHARS = 400


class BatchValidator:
    """Owns one child process; it is started when needed and ends with `close()` or with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    def start(self) -> None:
        """Start the child, which imports Great Expectations beside the calls; returns at once."""
        # Whoever holds the lock has started the child already, or is about to.
        if self._lock.acquire(blocking=False):
            try:
                self._ensure_child()
            finally:
                self._lock.release()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return None if self._child is None else self._child.pid

    def validate(self, rows: list[dict[str, Any]], *, checks: Checks, suite_name: str, docs_dir: Path) -> BatchVerdict:
        """
        The verdict of the batch rules on the rows; without rows or rules an empty one that no process is asked for.

        Rules over values skip nulls: a field that must be there needs `expect_column_values_to_not_be_null` beside
        them. One request at a time; further threads wait. A row has "row_number", "row_id", "input" and "output", in
        JSON values.

        Raises:
            SuiteRefused: The rules do not fit the rows.
            OvernightError: The child ended; the next call starts a new one.
        """
        if not rows or not checks.batch:
            return BatchVerdict(row_failures=(), batch_failures=(), warnings=(), row_warnings=(), n_rules=0, docs=None)
        request = {"rows": rows, "rules": checks.batch, "suite_name": suite_name, "docs_dir": str(docs_dir.absolute())}
        request["private"] = checks.private
        with self._lock:
            reply = self._exchange(json.dumps(request).encode() + b"\n", suite_name)
        if "refused" in reply:
            raise SuiteRefused(reply["refused"])
        return _read_verdict(reply["verdict"])

    def close(self) -> None:
        """End the child; it holds nothing that a new one would not make again."""
        with self._lock:
            self._end_child()

    def _exchange(self, request: bytes, suite_name: str) -> dict[str, Any]:
        child = self._ensure_child()
        reply = b""
        try:
            reply = _send(child, request)
        finally:
            # An interrupted exchange leaves its reply in the pipe, where the next request would take it for its own.
            if not reply.endswith(b"\n"):
                tail = self._end_child()
        if not reply.endswith(b"\n"):
            raise OvernightError(
                f"The process that judges the batch of {suite_name} ended before its verdict ({tail}). "
                "Run again: the next batch starts a new one."
            )
        answer: dict[str, Any] = json.loads(reply)
        return answer

    def _ensure_child(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
            self._child = subprocess.Popen(  # noqa: S603 - this Python and this package's own module
                [sys.executable, "-m", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=_child_environment(),
            )
        return self._child

    def _end_child(self) -> str:
        """How the child ended, with the last that it wrote to stderr."""
        if self._child is None or self._stderr is None:
            return "it was not running"
        self._child.kill()
        self._child.communicate()
        self._stderr.seek(0)
        tail = " ".join(self._stderr.read().decode(errors="replace").split())[-_TAIL_CHARS:]
        self._stderr.close()
        code, self._child, self._stderr = self._child.returncode, None, None
        return f"exit code {code}: {tail or 'it wrote nothing'}"


def _send(child: subprocess.Popen[bytes], request: bytes) -> bytes:
    """The reply's line, which lacks its end if the child ended first."""
    if child.stdin is None or child.stdout is None:
        return b""
    try:
        child.stdin.write(request)
        child.stdin.flush()
    except BrokenPipeError:
        return b""
    return child.stdout.readline()


def _child_environment() -> dict[str, str]:
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(p for p in (package_root, os.environ.get("PYTHONPATH")) if p)
    quiet = {"GX_ANALYTICS_ENABLED": "false", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet, "PYTHONPATH": path}


def _read_verdict(verdict: dict[str, Any]) -> BatchVerdict:
    return BatchVerdict(
        row_failures=tuple(RowFailure(**f) for f in verdict["row_failures"]),
        batch_failures=tuple(verdict["batch_failures"]),
        warnings=tuple(verdict["warnings"]),
        row_warnings=tuple(RowFailure(**f) for f in verdict["row_warnings"]),
        n_rules=verdict["n_rules"],
        docs=verdict["docs"],
    )
