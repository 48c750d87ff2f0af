"""Tokens are shown once and kept as SHA-256, in a file that only its owner opens."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from overnight.serve.tokens import Tokens, TokensRefused, add_token


def test_the_file_holds_a_name_and_a_hash_and_no_token(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tokens"
    token = add_token(path, "ada")
    assert path.read_text() == f"ada {hashlib.sha256(token.encode()).hexdigest()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Tokens(path).find_client(token) == "ada"
    assert Tokens(path).find_client(token + "x") is None


def test_a_client_has_two_tokens_until_the_older_line_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    old, new, other = add_token(path, "ada"), add_token(path, "ada"), add_token(path, "bob")
    tokens = Tokens(path)
    assert [tokens.find_client(t) for t in (old, new, other)] == ["ada", "ada", "bob"]
    path.write_text("# the older one is out\n\n" + "".join(path.read_text().splitlines(keepends=True)[1:]))
    assert [tokens.find_client(t) for t in (old, new, other)] == [None, "ada", "bob"]


def test_a_line_without_its_end_is_not_run_into(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    old = add_token(path, "ada")
    path.write_text(path.read_text().rstrip())
    add_token(path, "bob")
    assert Tokens(path).find_client(old) == "ada"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens"
    token = add_token(path, "ada")
    path.chmod(mode)
    with pytest.raises(TokensRefused, match="chmod 600"):
        Tokens(path).find_client(token)
    with pytest.raises(TokensRefused, match="chmod 600"):
        add_token(path, "bob")


def test_a_line_that_is_no_hash_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    add_token(path, "ada")
    with path.open("a") as file:
        file.write("bob a-token-as-it-is\n")
    with pytest.raises(TokensRefused, match="Line 2") as refused:
        Tokens(path).find_client("a-token-as-it-is")
    assert "as-it-is" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "-x", "a\nb", "é", "a" * 65])
def test_a_name_that_is_none_makes_no_token(tmp_path: Path, name: str) -> None:
    with pytest.raises(TokensRefused, match="no name of a client"):
        add_token(tmp_path / "tokens", name)
    assert not (tmp_path / "tokens").exists()


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TokensRefused, match="--new-token NAME"):
        Tokens(tmp_path / "tokens").read()
