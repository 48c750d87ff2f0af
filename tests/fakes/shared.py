"""A fake S3 that the place of parts may be in: environment and places for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.s3 import FakeS3


@contextmanager
def serve_parts(nowhere: Path) -> Iterator[FakeS3]:
    """A fake S3 that this process and those it starts find by their environment."""
    given = {
        "AWS_ACCESS_KEY_ID": "AKIAFAKE0123",
        "AWS_SECRET_ACCESS_KEY": "sesame-0123456789",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(nowhere / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(nowhere / "none"),
    }
    with pytest.MonkeyPatch.context() as patch, FakeS3() as server:
        for name, value in {**given, "AWS_ENDPOINT_URL": server.url}.items():
            patch.setenv(name, value)
        yield server
