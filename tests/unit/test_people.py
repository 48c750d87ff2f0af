from __future__ import annotations

from pathlib import Path

import pytest

from overnight.failures import OvernightError
from overnight.people import read_notify
from overnight.settings import Settings

URL = "json://ada:pass-word@example.test/tok-en"


def _write(folder: Path, text: str | bytes, mode: int = 0o600) -> str:
    path = folder / "people.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("", ()),
        ("  ", ()),
        (URL, (URL,)),
        (f" {URL}  mailto://b.test ", (URL, "mailto://b.test")),
    ],
)
def test_urls_are_separated_by_spaces(given: str, urls: tuple[str, ...]) -> None:
    assert read_notify(given) == urls


def test_a_file_holds_one_a_line_beside_comments(tmp_path: Path) -> None:
    assert read_notify(_write(tmp_path, f"# us\n\n  {URL}\n  # them\nmailto://b.test\n")) == (
        URL,
        "mailto://b.test",
    )


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = _write(tmp_path, URL, mode)
    with pytest.raises(OvernightError, match=f"Do: chmod 600 {path}") as refused:
        read_notify(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", ["xoxb-tok-en", "/nowhere/tok-en", "tok-en\0"])
def test_what_is_neither_url_nor_file_is_refused_and_not_shown(given: str) -> None:
    with pytest.raises(OvernightError, match="OVERNIGHT_NOTIFY is neither") as refused:
        read_notify(given)
    assert "tok-en" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OvernightError, match="it is no text"):
        read_notify(_write(tmp_path, b"\xff\xfe"))


def test_settings_hold_the_urls_and_do_not_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_NOTIFY", URL)
    settings = Settings.from_env()
    assert settings.notify == (URL,)
    assert "pass-word" not in repr(settings)
