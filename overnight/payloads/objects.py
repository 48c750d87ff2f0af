"""Object storage: the name of a place in a bucket as a sink."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath

from overnight.failures import SinkRefused
from overnight.payloads.masking import mask_address

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
_RELEASE = "{release}"
_SUFFIXES = (".jsonl", ".csv", ".parquet")


def name_object(sink: str) -> str:
    """
    The one way to write s3://BUCKET/PATH/{release}.jsonl, and the same with gs: and az:.

    Raises:
        SinkRefused: It names no bucket, or no object of its own for each release.
    """
    scheme, _, rest = sink.partition(":")
    scheme = scheme.lower()
    bucket, _, key = rest.removeprefix("//").partition("/")
    if "@" in bucket:
        # The address itself would repeat the password.
        raise SinkRefused("The sink's address holds a user name or password. Give it without; credentials go apart.")
    if not rest.startswith("//") or not _BUCKET.fullmatch(bucket):
        raise SinkRefused(
            f"The sink {mask_address(sink)} names no bucket. Give {scheme}://BUCKET/PATH/{_RELEASE}.jsonl."
        )
    return f"{scheme}://{bucket}/{_name_key(sink, key)}"


def _name_key(sink: str, key: str) -> str:
    shown = mask_address(sink)
    if "?" in key or "#" in key:
        raise SinkRefused(f"The sink {shown} has a query or a fragment. Leave out what follows the ? or the #.")
    if ".." in key.split("/"):
        raise SinkRefused(f"The sink {shown} has '..' in its path. Give the path that is meant.")
    name = posixpath.basename(key)
    if key.count(_RELEASE) != 1 or _RELEASE not in name:
        raise SinkRefused(
            f"The sink {shown} does not hold {_RELEASE} once, in the last part of its path. Each release is an object"
            f" of its own and none is ever overwritten: give PATH/{_RELEASE}.jsonl."
        )
    if PurePosixPath(name).suffix not in _SUFFIXES:
        raise SinkRefused(f"The sink {shown} has a suffix that cannot be written. Give .jsonl, .csv or .parquet.")
    return posixpath.normpath(key.lstrip("/"))
