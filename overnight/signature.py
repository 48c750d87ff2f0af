"""
The signature of an approval: the gate makes it, the publisher verifies it, and an edited record does not fit it.

What reviewers' codes are made of comes of the same key, so it is written nowhere.

Its key is a file that only its owner reads. Who can read it can sign: keeping it from whoever runs flows takes a
publisher under another user (docs/oversight.md).
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overnight.failures import ApprovalRefused
from overnight.keys import reviewer_secret, sign

_N_BYTES = 32


def sign_approval(fields: Mapping[str, Any], key_file: Path, *, is_first: bool) -> str:
    """
    The signature of an approval's fields; the key is made when the first approval of a ledger is given.

    Raises:
        ApprovalRefused: The key cannot be made or read.
    """
    if is_first and not key_file.exists():
        _make_key(key_file)
    return sign(fields, _read_key(key_file))


def is_signed(fields: Mapping[str, Any], signature: str | None, key_file: Path) -> bool:
    """
    Whether the signature is that of these fields.

    Raises:
        ApprovalRefused: There is no key to verify it with.
    """
    return hmac.compare_digest(sign(fields, _read_key(key_file)), signature or "")


def derive_secret(name: str, nonce: str, key_file: Path, *, is_first: bool) -> str:
    """
    What a reviewer's authenticator app is given, in base32: of the name and the nonce as they are enrolled.

    Args:
        name: As it is enrolled.
        nonce: Another one makes another secret.
        key_file: Of the key that signs approvals.
        is_first: Nothing was made with the key yet: where there is none, it is made.

    Raises:
        ApprovalRefused: The key cannot be made or read.
    """
    if is_first and not key_file.exists():
        _make_key(key_file)
    return base64.b32encode(reviewer_secret(name, nonce, _read_key(key_file))).decode()


def _make_key(key_file: Path) -> None:
    """Whole or not at all, and the first of two that are made at once stays."""
    part = key_file.with_name(f"{key_file.name}.{secrets.token_hex(8)}.part")
    try:
        key_file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_N_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(part, key_file)
        part.unlink()
    except OSError as error:
        raise ApprovalRefused(
            f"The key that signs approvals cannot be written to {key_file} ({error.strerror}). Mend the folder, or set"
            " OVERNIGHT_APPROVAL_KEY to another file."
        ) from error


def _read_key(key_file: Path) -> bytes:
    try:
        key = key_file.read_bytes()
    except OSError as error:
        raise ApprovalRefused(
            f"The key that signs approvals cannot be read from {key_file} ({error.strerror}): no approval can be"
            " signed or verified. Copy it from where approvals were given before. Where it is lost, make another (32"
            " random bytes) and run the flow again: a new run is reviewed anew."
        ) from error
    if len(key) != _N_BYTES:
        raise ApprovalRefused(
            f"{key_file} is not a key of {_N_BYTES} bytes. Copy it from where approvals were given before."
        )
    return key
