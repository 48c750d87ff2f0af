from __future__ import annotations

from pathlib import Path

import pytest

from overnight.entrypoints import has_code


@pytest.mark.parametrize(
    ("entrypoint", "is_there"),
    [
        ("some_flows.night.night", True),
        ("some_flows.no_such.night", False),
        ("no_such.follow_batches.follow_batches", False),
        ("some_flows/no_such.py:night", False),
        ("here.py:follow_batches", True),
        ("follow_batches", False),
        ("", False),
    ],
)
def test_code_is_there_where_its_module_or_file_is(
    entrypoint: str, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # A name of its own: whatever else runs in this process has imported a package `flows`.
    (tmp_path / "some_flows").mkdir()
    for file in ("here.py", "some_flows/__init__.py", "some_flows/night.py"):
        (tmp_path / file).touch()
    assert has_code(entrypoint) is is_there
