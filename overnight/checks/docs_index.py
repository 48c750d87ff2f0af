"""The index of a Data Docs site: every validation that its folder holds, over all runs and processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from overnight.records import BatchVerdict

#: One line a validation, appended: what the index is made from.
_RECORD = "validations.jsonl"


def list_validation(docs_dir: Path, *, page: Path, suite_name: str, verdict: BatchVerdict, run_at: datetime) -> Path:
    """
    Add a validation to the site's record and write index.html anew; its absolute path.

    `page` is relative to `docs_dir`. Links are plain, so that the index works without a network, which the tables of
    Great Expectations' own do not.
    """
    line = {
        "page": page.as_posix(),
        "suite": suite_name,
        "run_at": run_at.isoformat(timespec="seconds"),
        "n_rules": verdict.n_rules,
        "n_rows_failed": len({f.row_number for f in verdict.row_failures}),
        "n_batch_failures": len(verdict.batch_failures),
        "n_warnings": len(verdict.warnings),
    }
    index = docs_dir.absolute() / "index.html"
    with (docs_dir / _RECORD).open("a+", encoding="utf-8") as record:
        # Other runs write to the same site; closing the file lets go.
        fcntl.flock(record, fcntl.LOCK_EX)
        record.write("\n" + json.dumps(line))
        record.flush()
        record.seek(0)
        _replace(index, _render(docs_dir, list(_read_lines(record))))
    return index


def list_anew(docs_dir: Path) -> None:
    """Write index.html anew where pages have been deleted; what is left of those is their counts, in the record."""
    with (docs_dir / _RECORD).open("r", encoding="utf-8") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        _replace(docs_dir.absolute() / "index.html", _render(docs_dir, list(_read_lines(record))))


def _read_lines(record: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Lines that are empty, or that a crash cut short, are passed over."""
    for text in record:
        with contextlib.suppress(ValueError):
            yield json.loads(text)


def _render(docs_dir: Path, lines: list[dict[str, Any]]) -> str:
    there = [line for line in lines if (docs_dir / line["page"]).exists()]
    body = "\n".join(_render_line(line) for line in reversed(there))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}td,th{padding:.3em 1em;text-align:left}</style></head>\n"
        f"<body><h1>Data Docs</h1><p>{len(there)} validations, newest first.</p>\n"
        "<table><tr><th>Validation</th><th>At</th><th>Rules</th><th>Rows failed</th><th>Batch failures</th>"
        f"<th>Warnings</th></tr>\n{body}\n</table></body></html>\n"
    )


def _render_line(line: dict[str, Any]) -> str:
    cells = [line[key] for key in ("run_at", "n_rules", "n_rows_failed", "n_batch_failures", "n_warnings")]
    link = f'<a href="{quote(line["page"])}">{escape(line["suite"])}</a>'
    return f"<tr><td>{link}</td>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"


def _replace(path: Path, text: str) -> None:
    """Whoever reads the index meanwhile sees the old one or the new one whole."""
    new = path.with_name(f".index-{os.getpid()}.html")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
