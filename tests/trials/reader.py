"""
`python -m tests.trials.reader SOURCE HOME [ID_COLUMN]`: reads a source as a run does, and says what came of it.

One line of JSON: the rows by what became of them, or the refusal, and the most memory that the process ever held.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from overnight.failures import InputRefused
from overnight.intake import read_batches
from overnight.parts import read_part


@dataclass(frozen=True)
class Read:
    """What came of a source."""

    #: Why all of it was refused; empty where it was not.
    refused: str
    #: By failure class; "" of rows that can be asked.
    rows: dict[str, int] = field(default_factory=dict)
    row_ids: list[str] = field(default_factory=list)
    peak_mb: float = 0.0
    said: str = ""


def read_apart(source: str, home: Path, id_column: str = "id") -> Read:
    """Read it in a process of its own."""
    command = [sys.executable, "-m", __name__, source, str(home), id_column]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return Read(**json.loads(ended.stdout), said=ended.stderr)


def main() -> None:
    """Read, and say."""
    source, home, id_column = sys.argv[1:]
    refused, rows, ids = "", Counter[str](), []
    batches = read_batches(
        source, id_column=id_column or None, inputs=("text",), optional_inputs=(), place=Path(home), limit=100_000
    )
    try:
        for batch in batches:
            part = read_part(batch.part, Path(home))
            rows.update(found or "" for found in part["failure_class"].to_pylist())
            ids += part["row_id"].to_pylist()
            del part
    except InputRefused as error:
        refused = str(error)
    print(json.dumps({"refused": refused, "rows": rows, "row_ids": ids[:50], "peak_mb": read_peak_mb()}))  # noqa: T201


def read_peak_mb() -> float:
    """Of this process alone: what `getrusage` says would be its maker's, too."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
