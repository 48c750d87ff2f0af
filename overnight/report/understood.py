"""What was understood of the answers to requests, whether they were accepted or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.ledger.completions import find_completions, find_refusals


def find_answers(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """By request key: refused by a row check, or accepted and refused with its batch."""
    refused = {key: r.output for key, r in find_refusals(connection, keys).items()}
    accepted = {key: c.output for key, c in find_completions(connection, keys).items()}
    return {key: orjson.loads(output) for key, output in (refused | accepted).items() if output}
