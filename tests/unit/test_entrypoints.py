from __future__ import annotations

from pathlib import Path

import pytest

from overnight.entrypoints import has_code

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("entrypoint", "is_there"),
    [
        ("flows.follow_batches.follow_batches", True),
        ("flows.no_such.follow_batches", False),
        ("no_such.follow_batches.follow_batches", False),
        ("flows/follow_batches.py:follow_batches", False),
        ("here.py:follow_batches", True),
        ("follow_batches", False),
        ("", False),
    ],
)
def test_code_is_there_where_its_module_or_file_is(
    entrypoint: str, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    (tmp_path / "here.py").touch()
    assert has_code(entrypoint) is is_there
