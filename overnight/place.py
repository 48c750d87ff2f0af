"""The place of parts: the home folder, another folder, or a store of objects that several machines share."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from overnight.failures import OvernightError
from overnight.object_stores import LIBRARIES

if TYPE_CHECKING:
    from upath import UPath

#: A folder of this machine, or one behind a URL. Late, since a folder of this machine needs nothing of fsspec.
PartsPlace: TypeAlias = "Path | UPath"

#: Listings would be kept for the process's life. One reader at a time spares s3fs a request for the size of each part.
_OPTIONS: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
_S3_OPTIONS: dict[str, Any] = {
    "max_concurrency": 1,
    # s3fs tries five times by itself, and each time would be five of botocore's; it waits 5 s for a connection and
    # 15 s for bytes.
    "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 2}},
}


def read_parts_url(url: str) -> str | None:
    """
    The URL of the place of parts as it is kept, of what the environment gives; None where it gives none.

    Raises:
        OvernightError: It is no URL of a folder or bucket, holds a password, or what speaks its protocol is missing.
    """
    if not url:
        return None
    # Its own words are not repeated before it is known to hold no password.
    try:
        parts = urlsplit(url)
        holds_secret = "@" in parts.netloc or bool(parts.query or parts.fragment)
    except ValueError:
        raise OvernightError(f"OVERNIGHT_PARTS_URL is no URL. {_EXAMPLES}") from None
    if holds_secret:
        raise OvernightError(
            "OVERNIGHT_PARTS_URL holds a user, a password or options. Give the bucket and folder alone: credentials"
            " come from where the store's own tools look for them, such as AWS_PROFILE or AWS_ACCESS_KEY_ID."
        )
    if parts.scheme == "file":
        return _read_folder(parts)
    library = LIBRARIES.get(parts.scheme)
    if library is None or not parts.netloc:
        raise OvernightError(f"OVERNIGHT_PARTS_URL is {url!r}, where no parts can be kept. {_EXAMPLES}")
    if importlib.util.find_spec(library.module) is None:
        raise OvernightError(
            f"OVERNIGHT_PARTS_URL is {url!r}, and {library.module} is not installed. Install {library.to_install}."
        )
    # In small letters, whichever were given: it is compared with what other machines have.
    return f"{parts.scheme}{url[len(parts.scheme) :]}".rstrip("/")


_EXAMPLES = "Give s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER or file:///FOLDER."


def _read_folder(parts: SplitResult) -> str:
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise OvernightError(f"OVERNIGHT_PARTS_URL names no folder of this machine. {_EXAMPLES}")
    return f"file://{parts.path}"


def open_place(url: str) -> PartsPlace:
    """The place at a URL that `read_parts_url` has read; nothing is asked of it yet."""
    if url.startswith("file:"):
        return Path(url2pathname(urlsplit(url).path))
    return _open_store(url, os.getpid())


@functools.lru_cache(maxsize=8)
def _open_store(url: str, pid: int) -> UPath:  # noqa: ARG001 - a client is not shared with a forked process
    """One client for the process: fsspec's own cache has one a thread, and making one takes long."""
    from upath import UPath  # noqa: PLC0415 - see PartsPlace

    place: UPath = UPath(url, **_OPTIONS, **(_S3_OPTIONS if url.startswith("s3:") else {}))
    return place
