"""The place of parts: the home folder, or another one that several machines share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from upath import UPath

#: A folder of this machine, or one behind a URL. Late, since a folder of this machine needs nothing of fsspec.
PartsPlace: TypeAlias = "Path | UPath"
