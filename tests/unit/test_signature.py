"""What reviewers' codes are made of comes of the key that signs approvals, and of nothing that the ledger has."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from overnight.failures import ApprovalRefused
from overnight.keys import reviewer_secret, sign
from overnight.signature import derive_secret, sign_approval


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "approval.key"
    path.write_bytes(bytes(range(32)))
    return path


def test_name_nonce_and_key_each_make_another_secret() -> None:
    found = {reviewer_secret(n, x, k) for n in ("Ada", "Bert") for x in ("1", "2") for k in (b"k", b"l")}
    assert len(found) == 8
    assert {len(secret) for secret in found} == {20}
    assert reviewer_secret("a", "bc", b"k") != reviewer_secret("ab", "c", b"k")


def test_a_secret_is_no_signature() -> None:
    assert not sign({"name": "Ada"}, b"k").startswith(reviewer_secret("Ada", "n", b"k").hex())


def test_a_secret_is_base32_and_the_same_each_time(key_file: Path) -> None:
    secret = derive_secret("Ada", "n", key_file, is_first=False)
    assert base64.b32decode(secret) == reviewer_secret("Ada", "n", key_file.read_bytes())
    # What it was is what it stays: another one would lock all reviewers out.
    assert secret == "CIZPQEDNCUFIA5AJBNY6FKTAUVRS7E3B"  # noqa: S105 - of a key that is nobody's
    assert derive_secret("Ada", "n", key_file, is_first=True) == secret


def test_the_first_secret_makes_the_key_and_approvals_are_signed_with_it(tmp_path: Path) -> None:
    key_file = tmp_path / "home" / "approval.key"
    derive_secret("Ada", "n", key_file, is_first=True)
    key = key_file.read_bytes()
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert sign_approval({"round": 1}, key_file, is_first=True) == sign({"round": 1}, key)
    assert key_file.read_bytes() == key


def test_a_key_that_is_lost_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(ApprovalRefused, match="cannot be read from"):
        derive_secret("Ada", "n", tmp_path / "approval.key", is_first=False)
    assert list(tmp_path.iterdir()) == []
