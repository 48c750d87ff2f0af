"""Drafts: the verdicts on what is shown, as long as they are not handed in, in a file of the home."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pydantic

from overnight.approve.verdicts import Verdict, write_verdict
from overnight.failures import ReviewRefused
from overnight.keys import canonical_json, digest_bytes
from overnight.records import Release

#: Of the items' digest, in the name of the file: all of them are compared.
_N_DIGITS = 12


class _Kept(pydantic.BaseModel):
    """The file's content: untrusted, whoever wrote it last."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
    version: Literal[1]
    release: str
    #: Of what was shown: verdicts on other items say nothing of these.
    items: str
    #: In the order in which they were given.
    verdicts: list[tuple[int, Verdict]]
    seconds: dict[int, float]


class Draft:
    """
    The draft of what one draw shows: a round that was refused leaves it as it is.

    Args:
        release: With the items that are shown.
        home: Drafts are in its folder `reviews`.
    """

    def __init__(self, release: Release, home: Path) -> None:
        self._release = release
        self._items = digest_bytes(canonical_json([asdict(item) for item in release.items]))
        # A run's name may hold what no file's name may.
        self.path = home / "reviews" / f"{quote(release.release_id, safe='')}-{self._items[:_N_DIGITS]}.json"

    def load(self) -> tuple[dict[int, Verdict], dict[int, float]]:
        """
        The verdicts and the seconds of each item; empty, where there is no draft.

        Raises:
            ReviewRefused: There is one, and it is not of these items.
        """
        try:
            kept = _Kept.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            raise self._refuse(f"it cannot be read ({error.strerror})") from error
        except pydantic.ValidationError as error:
            raise self._refuse("it is damaged") from error
        shown = {item.item for item in self._release.items}
        place = (self._release.release_id, self._items)
        if (kept.release, kept.items) != place or not {n for n, _ in kept.verdicts} <= shown:
            raise self._refuse("it is of other items")
        return dict(kept.verdicts), {n: min(max(s, 0.0), 300.0) for n, s in kept.seconds.items()}

    def save(self, verdicts: Mapping[int, Verdict], seconds: Mapping[int, float]) -> None:
        """
        Write the draft whole, readable by its owner alone.

        Raises:
            ReviewRefused: It cannot be written.
        """
        kept = {
            "version": 1,
            "release": self._release.release_id,
            "items": self._items,
            "verdicts": [[n, write_verdict(v)] for n, v in verdicts.items()],
            "seconds": dict(seconds),
        }
        try:
            self._write(canonical_json(kept))
        except OSError as error:
            raise ReviewRefused(
                f"The draft {self.path} cannot be written ({error.strerror}): the verdicts are kept only until"
                " this command ends. Mend it, or go on and decide."
            ) from error

    def remove(self) -> None:
        """Forget the draft: its verdicts were taken."""
        # One that stays is of a draw that is over, and is never read again.
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A temporary file is made readable by its owner alone, and its name is that of the draft afterwards.
        fd, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".draft-")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _refuse(self, why: str) -> ReviewRefused:
        return ReviewRefused(f"The draft {self.path} is not used: {why}. The round begins with its first item.")
