import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from overnight.intake import read_batches
from overnight.parts import read_part


@dataclass
class Intake:
    home: Path

    def write(self, data: bytes | str, name: str = "rows.csv") -> str:
        path = self.home / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    def read(self, source: str, **named: Any) -> list[dict[str, Any]]:
        """All rows of all parts, with their input as a mapping."""
        options = {"id_column": "id", "inputs": ("text",), "optional_inputs": (), "place": self.home, **named}
        rows = []
        for batch in read_batches(source, **options):
            part_rows = read_part(batch.part, self.home).to_pylist()
            assert len(part_rows) == batch.n_rows == batch.part.n_rows
            assert sum(row["state"] == "quarantined" for row in part_rows) == batch.n_quarantined
            rows += part_rows
        for row in rows:
            row["input"] = row["input"] and json.loads(row["input"])
        return rows


@pytest.fixture
def intake(tmp_path):
    return Intake(tmp_path)
