"""Files of a home that hold texts of rows: which of them are old, and their deletion."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from overnight.checks.docs_index import list_anew
from overnight.failures import OvernightError

#: Their files bear the name of a run.
_NAMED = ("drafts", "reports")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class OldFile:
    """A file that nothing needs which is left whole."""

    #: "parts", "pages" (of Data Docs), "drafts" (of reviews), "reports", "results" (of Prefect's tasks, which are made
    #: again where they are missed) or "backups" (of the ledger).
    kind: str
    path: Path
    n_bytes: int
    #: When it was written or last used, seconds since the epoch.
    used_at: float


def find_old_files(
    home: Path, ledger: Path | None, *, used: Collection[Path], runs: Collection[str], before: float
) -> Iterator[OldFile]:
    """
    Files that were last used before then.

    Args:
        home: Where parts, pages, drafts and reports are.
        ledger: Its file, where it is one.
        used: Files that are left.
        runs: Whose reports and drafts are left.
        before: Seconds since the epoch.
    """
    for kind, path in _list_files(home, ledger):
        if is_needed(kind, path, used=used, runs=runs):
            continue
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            if stat.st_mtime < before:
                yield OldFile(kind, path, stat.st_size, stat.st_mtime)


def is_needed(kind: str, path: Path, *, used: Collection[Path], runs: Collection[str]) -> bool:
    """Whether it is one of those that are used, or bears the name of one of these runs."""
    return path in used or (kind in _NAMED and any(quote(run_id, safe="") in path.name for run_id in runs))


def _list_files(home: Path, ledger: Path | None) -> Iterator[tuple[str, Path]]:
    folders = {
        "parts": ("parts", "*/*"),
        "pages": ("docs", "*/validations/**/*.html"),
        "drafts": ("reviews", "*"),
        "reports": ("reports", "**/*"),
        "results": ("results", "**/*"),
    }
    for kind, (folder, pattern) in folders.items():
        yield from ((kind, path) for path in sorted((home / folder).glob(pattern)) if path.is_file())
    if ledger:
        yield from (("backups", path) for path in sorted(ledger.parent.glob(f"{ledger.name}.before-upgrade-*")))


def delete_files(files: Collection[OldFile]) -> None:
    """
    Delete each file that was not used meanwhile, and list the pages of Data Docs that are left.

    Raises:
        OvernightError: One cannot be deleted.
    """
    for file in files:
        try:
            if file.path.stat().st_mtime <= file.used_at:
                file.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OvernightError(
                f"{file.path} cannot be deleted ({error.strerror}), and it holds texts of old rows. Mend its rights and"
                " run the same purge again."
            ) from error
    for site in {_find_site(file.path) for file in files if file.kind == "pages"}:
        with contextlib.suppress(FileNotFoundError):
            list_anew(site)


def list_digests(files: Collection[OldFile]) -> set[str]:
    """The digests of the parts among them."""
    return {file.path.stem for file in files if file.kind == "parts" and _DIGEST.fullmatch(file.path.stem)}


def _find_site(page: Path) -> Path:
    """The folder of a page's site: docs/SITE."""
    return next(folder.parent for folder in page.parents if folder.name == "validations")
