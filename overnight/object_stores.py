"""Which library speaks to which store of objects behind fsspec, and what it raises."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Library:
    """What speaks a protocol."""

    module: str
    to_install: str
    #: Its exceptions that are no OSError.
    errors: tuple[str, ...]

    def list_errors(self) -> tuple[type[BaseException], ...]:
        """All that it raises where a store cannot be reached or refuses; it has to be installed."""
        return (OSError, *(pkgutil.resolve_name(name) for name in self.errors))


#: In these a put is whole or nothing: nobody ever sees half an object.
LIBRARIES = {
    "s3": Library("s3fs", "overnight[s3]", ("botocore.exceptions:BotoCoreError", "aiohttp:ClientError")),
    "gs": Library(
        "gcsfs",
        "gcsfs",
        ("gcsfs.retry:HttpError", "google.auth.exceptions:GoogleAuthError", "aiohttp:ClientError"),
    ),
    # Without an account it is a ValueError.
    "az": Library("adlfs", "adlfs", ("azure.core.exceptions:AzureError", "builtins:ValueError")),
}


def is_no_bucket(error: BaseException) -> bool:
    """Whether the bucket is what is missing: s3fs tells it as a FileNotFoundError too."""
    return bool(read_response(error).get("Error", {}).get("Code") == "NoSuchBucket")


def read_response(error: BaseException) -> dict[str, Any]:
    """The answer that botocore keeps in the error below; empty with other libraries."""
    response = getattr(error.__cause__, "response", None)
    return response if isinstance(response, dict) else {}
