"""The ledger does the same in every database that it may be kept in."""

from __future__ import annotations

import pytest

from tests.conftest import DATABASES
from tests.unit.ledger.nights import nights
from tests.unit.ledger.packing import packing

__all__ = ["database", "nights", "packing"]


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """One kind of database after another."""
    kind: str = request.param
    return kind
