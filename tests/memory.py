"""Where tests keep their files: in memory, where there is enough of it, since commits wait for a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: In memory on most machines; a container may have little of it.
_FOLDER = Path("/dev/shm")  # noqa: S108 - what is made in it is the user's alone
_ENOUGH_BYTES = 2**31


def find_memory() -> Path | None:
    """A folder in memory with room for all tests; None: there is none."""
    if os.access(_FOLDER, os.W_OK) and shutil.disk_usage(_FOLDER).free >= _ENOUGH_BYTES:
        return _FOLDER
    return None
