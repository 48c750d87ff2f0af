"""
A Postgres of the tests' own: real, in a temporary folder, on a free port, gone with the process that started it.

A trial that needs one to itself: `with start_postgres() as server: Ledger(server.make_database())`.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

Mode = Literal["smart", "fast", "immediate"]

_SUPERUSER = "postgres"
#: Reads a pipe that ends with the process that holds it, however that ends; then nothing may be left.
_GUARD = 'read -r _; "$1/pg_ctl" stop --silent --mode immediate --pgdata "$2/data"; cd /; rm -rf "$2"'


def find_postgres() -> Path | None:
    """The folder of the newest server's programs; None where there is no Postgres."""
    packaged = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if packaged:
        return max(packaged, key=lambda folder: [int(n) for n in folder.parent.name.split(".")])
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def start_postgres(*, fsync: bool = True, parent: Path | None = None) -> Iterator[Postgres]:
    """
    A server that takes connections while the context lasts, and whose folder goes with it.

    Args:
        fsync: Off, commits are quicker and outlive a crash of the server, though not one of the machine.
        parent: Where its folder is made; by default with all temporary ones.
    """
    programs = find_postgres()
    assert programs is not None, "There is no Postgres. Install one, or ask find_postgres first."
    folder, owner = Path(tempfile.mkdtemp(prefix="overnight-pg-", dir=parent)), _find_owner()
    if owner is not None:
        shutil.chown(folder, owner.pw_uid, owner.pw_gid)
    server = Postgres(folder, programs, _pick_port(), owner)
    # A session of its own: Ctrl-C is for the tests, which then end it.
    words = ["sh", "-c", _GUARD, "guard", str(programs), str(folder)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, **server.as_owner
    ):
        server.make_cluster(fsync=fsync)
        server.start()
        yield server


@dataclass(frozen=True)
class Postgres:
    """One server, which may be stopped and started over what it holds; its address stays."""

    folder: Path
    programs: Path
    port: int
    #: Who runs it, where that is not whoever runs the tests.
    owner: pwd.struct_passwd | None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str = "postgres") -> str:
        """The address of a database, as OVERNIGHT_LEDGER_URL takes it."""
        return f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def make_database(self, template: str | None = None) -> str:
        """The address of a new database: a copy of the template at its address, or empty."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_name(template) if template else 'template0'}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def start(self) -> None:
        """Start, and return when it takes connections."""
        self._run("pg_ctl", "start", "--wait", "--log", self.folder / "log", *self._data)

    def stop(self, mode: Mode = "fast") -> None:
        """Stop, and return when it is gone; "immediate" is a crash: the next start recovers."""
        self._run("pg_ctl", "stop", "--wait", "--mode", mode, *self._data)

    def restart(self, mode: Mode = "immediate") -> None:
        """Stop, start, and return when it takes connections again."""
        self.stop(mode)
        self.start()

    def make_cluster(self, *, fsync: bool) -> None:
        """Lay out the data folder and settle how it runs."""
        how = ["--no-sync", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--username", _SUPERUSER]
        self._run("initdb", *how, *self._data)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "shared_buffers": "32MB",
            "max_connections": 60,
            "fsync": fsync,
            # Guards against a page half written, which only a crash of the machine leaves.
            "full_page_writes": fsync,
        }
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    @property
    def as_owner(self) -> dict[str, Any]:
        """How a process is started as its owner, in a folder that the owner may read."""
        if self.owner is None:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    @property
    def _data(self) -> tuple[str, Path]:
        return "--pgdata", self.folder / "data"

    def _run(self, program: str, *words: str | Path) -> None:
        command = [self.programs / program, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self.as_owner)
        log = self.folder / "log"
        said = done.stdout + done.stderr + (log.read_text()[-2000:] if log.exists() else "")
        assert done.returncode == 0, f"{program} {words[0]} failed: {said}"

    def _execute(self, statement: str) -> None:
        # A connection each: none is left for a restart to break.
        engine = sa.create_engine(self.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _find_owner() -> pwd.struct_passwd | None:
    """Somebody to run the server where root runs the tests: it refuses root."""
    if os.geteuid() != 0:
        return None
    people = {person.pw_name: person for person in pwd.getpwall()}
    return people.get("postgres") or people["nobody"]


def _pick_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
