"""
Who may hand requests in: names with the SHA-256 of a token each, in a file that only its owner reads.

The token itself is shown once, to whoever makes it, and kept nowhere.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import threading
from pathlib import Path

from overnight.failures import OvernightError
from overnight.keys import digest_bytes

#: Begins every token, so that one that strays into a text is known for what it is.
_PREFIX = "ovn_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern})\s+([0-9a-f]{{64}})")


class TokensRefused(OvernightError):
    """The file of tokens is missing, open to others, or malformed."""


class Tokens:
    """
    The tokens of a file, read again whenever it changes: a line that is deleted is refused from then on.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._clients: list[tuple[str, str]] = []

    def find_client(self, token: str) -> str | None:
        """
        Whose token it is.

        Raises:
            TokensRefused: The file is missing, open to others, or malformed.
        """
        given = digest_bytes(token.encode("utf-8", "surrogateescape"))
        found = None
        for name, digest in self.read():
            # All of them, each in constant time: how long it takes says nothing of which one it nearly was.
            found = name if hmac.compare_digest(digest, given) else found
        return found

    def read(self) -> list[tuple[str, str]]:
        """
        The (name, SHA-256) of each token.

        Raises:
            TokensRefused: As above.
        """
        with self._lock:
            try:
                found = self._path.stat()
                seen = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
                if seen != self._seen:
                    _refuse_open(self._path, found.st_mode)
                    self._clients = _parse(self._path, self._path.read_text(encoding="utf-8"))
                    self._seen = seen
            except FileNotFoundError:
                raise TokensRefused(
                    f"There is no file of tokens {self._path}, so nobody may hand anything in. Make the first one:"
                    " overnight serve --new-token NAME"
                ) from None
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is no text"
                raise TokensRefused(f"The tokens in {self._path} cannot be read ({why}). Mend the file.") from error
            return self._clients


def add_token(path: Path, name: str) -> str:
    """
    Make a token for this client and keep its SHA-256; the token, which is in no file.

    A client may have several, so that a new one can be in use before the old one's line is deleted.

    Raises:
        TokensRefused: The name is none, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise TokensRefused(f"{name!r} is no name of a client. Use up to 64 letters, digits and . _ - of ASCII.")
    token = _PREFIX + secrets.token_urlsafe(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as file:
            _refuse_open(path, os.fstat(file.fileno()).st_mode)
            file.seek(0)
            kept = file.read()
            _parse(path, kept)
            file.write("\n" * (kept != "" and not kept.endswith("\n")) + f"{name} {digest_bytes(token.encode())}\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise TokensRefused(f"The tokens in {path} cannot be written ({why}). Mend the file.") from error
    return token


def _refuse_open(path: Path, mode: int) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TokensRefused(f"Others than its owner can open the tokens in {path}. Do: chmod 600 {path}")


def _parse(path: Path, text: str) -> list[tuple[str, str]]:
    clients = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # The line itself is not shown: somebody may have put a token there.
        if not (found := _LINE.fullmatch(line.strip())):
            raise TokensRefused(
                f"Line {number} of {path} is not NAME SHA256. Delete it, and make a token: overnight serve --new-token"
                " NAME"
            )
        clients.append((found[1], found[2]))
    return clients
