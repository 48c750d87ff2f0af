"""The child process: requests come in on stdin, verdicts go out on stdout, a JSON line each; ends when stdin does."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from overnight.failures import SuiteRefused


def main() -> None:
    # Ctrl-C reaches the whole process group; it is the parent that decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as replies:
        # Whatever a library prints goes to stderr, never between the replies.
        os.dup2(2, 1)
        import overnight.checks.suite  # noqa: F401, PLC0415 - takes seconds: begun at once, and only with stdout safe

        for request in sys.stdin.buffer:
            replies.write(json.dumps(answer(json.loads(request))).encode() + b"\n")
            replies.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request: a verdict, or why the suite was refused."""
    from overnight.checks.suite import run_suite  # noqa: PLC0415 - see main

    try:
        verdict = run_suite(
            request["rows"],
            request["rules"],
            suite_name=request["suite_name"],
            docs_dir=Path(request["docs_dir"]),
            private=request.get("private", ()),
        )
    except SuiteRefused as error:
        return {"refused": str(error)}
    return {"verdict": dataclasses.asdict(verdict)}


if __name__ == "__main__":
    main()
