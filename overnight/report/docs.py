"""Where the Data Docs of a run are: on this machine, or in the home folder of another one that checked its batches."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from overnight.records import CheckedBatch

#: A page of Data Docs lies somewhere below docs/SITE/, whose index lists all of its pages.
_SITE = 2


def find_docs(batches: Sequence[CheckedBatch], home: Path | None) -> tuple[Path | None, str | None]:
    """Of the last batch that has any, on this machine; and on which others such pages are."""
    here = platform.node()
    own = [Path(b.docs) for b in batches if b.docs and b.docs_host in (None, here)]
    sites = {(b.docs_host, _index(Path(b.docs))) for b in batches if b.docs and b.docs_host not in (None, here)}
    told = [f"{index.as_posix()} in the home folder of {host}" for host, index in sorted(sites)]
    return home / _index(own[-1]) if own and home else None, ", ".join(told) or None


def _index(page: Path) -> Path:
    return Path(*page.parts[:_SITE]) / "index.html"
