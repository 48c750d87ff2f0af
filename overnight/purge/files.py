"""Files that hold texts of rows, of a home and of the place of parts: which of them are old, and their deletion."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from overnight.checks.docs_index import list_anew
from overnight.failures import OvernightError
from overnight.parts.objects import PutObject, delete_if_old, list_parts
from overnight.place import PartsPlace

if TYPE_CHECKING:
    from upath import UPath

#: Of a file, or of an object in the place of parts.
AnyPath: TypeAlias = "Path | UPath"

#: A clock of another machine may be off by this, in seconds.
SLACK_S = 300.0

#: Their files bear the name of a run.
_NAMED = ("drafts", "reports")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class OldFile:
    """A file that nothing needs which is left whole."""

    #: "parts", "copies" (of parts, where they were before a move), "pages" (of Data Docs), "drafts" (of reviews),
    #: "reports", "results" (of Prefect's tasks, which are made again where they are missed) or "backups" (of the
    #: ledger).
    kind: str
    path: Path | UPath
    n_bytes: int
    #: When it was written or last used, seconds since the epoch.
    used_at: float


def find_old_files(
    home: Path,
    place: PartsPlace,
    ledger: Path | None,
    *,
    used: Collection[AnyPath],
    runs: Collection[str],
    before: float,
) -> Iterator[OldFile]:
    """
    Files that were last used before then.

    Args:
        home: Where pages, drafts and reports are, and parts were before they moved elsewhere.
        place: Where parts are.
        ledger: Its file, where it is one.
        used: Files that are left.
        runs: Whose reports and drafts are left.
        before: Seconds since the epoch.
    """
    moved: set[str] | None = None
    if not isinstance(place, Path):
        put = list(list_parts(place))
        moved = {found.path.name for found in put}
        yield from _pick_old(put, used=used, before=before)
    elif place.resolve() != home.resolve():
        moved = {path.name for path in _list_parts(place)}
    for kind, path in _list_files(home, place, ledger, moved):
        if is_needed(kind, path, used=used, runs=runs):
            continue
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            if stat.st_mtime < before:
                yield OldFile(kind, path, stat.st_size, stat.st_mtime)


def is_needed(kind: str, path: AnyPath, *, used: Collection[AnyPath], runs: Collection[str]) -> bool:
    """Whether it is one of those that are used, or bears the name of one of these runs."""
    return path in used or (kind in _NAMED and any(quote(run_id, safe="") in path.name for run_id in runs))


def _pick_old(objects: Iterable[PutObject], *, used: Collection[AnyPath], before: float) -> Iterator[OldFile]:
    for put in objects:
        # By the store's clock, which may go otherwise than ours.
        if put.put_at < before - SLACK_S and put.path not in used:
            yield OldFile("parts", put.path, put.n_bytes, put.put_at)


def _list_parts(place: Path) -> list[Path]:
    return sorted(path for path in (place / "parts").glob("*/*") if path.is_file())


def _list_files(
    home: Path, place: PartsPlace, ledger: Path | None, moved: Collection[str] | None
) -> Iterator[tuple[str, Path]]:
    folders = {
        "pages": ("docs", "*/validations/**/*.html"),
        "drafts": ("reviews", "*"),
        "reports": ("reports", "**/*"),
        "results": ("results", "**/*"),
    }
    if isinstance(place, Path):
        yield from (("parts", path) for path in _list_parts(place))
    if moved is not None:
        # Of one that is in its new place too, the ledger goes on to tell what its checks said: a run may use it.
        yield from (("copies" if path.name in moved else "parts", path) for path in _list_parts(home))
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
        if isinstance(file.path, Path):
            _delete_file(file.path, file.used_at)
        else:
            delete_if_old(file.path, put_at=file.used_at)
    for site in {_find_site(file.path) for file in files if file.kind == "pages" and isinstance(file.path, Path)}:
        with contextlib.suppress(FileNotFoundError):
            list_anew(site)


def _delete_file(path: Path, used_at: float) -> None:
    try:
        if path.stat().st_mtime <= used_at:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OvernightError(
            f"{path} cannot be deleted ({error.strerror}), and it holds texts of old rows. Mend its rights and"
            " run the same purge again."
        ) from error


def list_digests(files: Collection[OldFile]) -> set[str]:
    """The digests of the parts among them."""
    return {file.path.stem for file in files if file.kind == "parts" and _DIGEST.fullmatch(file.path.stem)}


def _find_site(page: Path) -> Path:
    """The folder of a page's site: docs/SITE."""
    return next(folder.parent for folder in page.parents if folder.name == "validations")
