"""Each peer cold, and the same once more."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.meter import Cost
from benchmarks.rows import n_rows
from benchmarks.serving import Counts, Provider, read_cost

_REPOSITORY = Path(__file__).parents[2]
_ROOT = _REPOSITORY / ".cache/peers"
_UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Peer:
    """A library, the module that uses it, and what is installed for it."""

    name: str
    module: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """What one run of a peer cost, and what the provider saw of it."""

    cost: Cost
    counts: Counts


_PEERS = (
    Peer("openai 3.54 + diskcache 5.6", "openai_diskcache", ("openai==3.54.*", "diskcache==5.6.*")),
    Peer("bespokelabs-curator 0.1.31", "curator", ("bespokelabs-curator==0.1.31",)),
)


class NotToBeHad(Exception):
    """The peer cannot be installed or run here."""


def measure_peers(provider: Provider) -> Iterator[Figure]:
    """Two lines a peer; one that cannot be had says so."""
    for peer in _PEERS:
        try:
            cold, again = _run_twice(peer, provider)
        except NotToBeHad as error:
            yield Figure(f"peer: {peer.name}", None, "", None, str(error))
            continue
        beside = f"{cold.cost.wall_s:.1f} s; {cold.counts.n_calls:,} calls; start-up {cold.cost.start_cpu_s:.1f} s CPU"
        yield Figure(f"peer: {peer.name}, cold", cold.cost.cpu_ms_a_row(n_rows()), "ms CPU a row", None, beside)
        beside = f"{again.cost.cpu_s:.2f} s CPU; {again.counts.n_calls:,} calls"
        yield Figure(f"peer: {peer.name}, identical rerun, {n_rows():,} rows", again.cost.wall_s, "s", None, beside)


def leave_out_peers() -> Iterator[Figure]:
    """The same lines, where they were not asked for."""
    for peer in _PEERS:
        yield Figure(f"peer: {peer.name}", None, "", None, "`BENCH_PEERS=1 make bench`")


def _run_twice(peer: Peer, provider: Provider) -> tuple[Done, Done]:
    python = _install(peer)
    with tempfile.TemporaryDirectory() as home:
        return _run(peer, python, provider, Path(home)), _run(peer, python, provider, Path(home))


def _install(peer: Peer) -> Path:
    """The interpreter of the peer's own environment, made once."""
    folder = _ROOT / peer.module
    python = folder / "bin/python"
    if not python.exists():
        _call([_UV, "venv", "--quiet", folder, "--python", sys.executable], None)
    _call([_UV, "pip", "install", "--quiet", "--python", python, *peer.packages], None)
    return python


def _run(peer: Peer, python: Path, provider: Provider, home: Path) -> Done:
    environment = provider.environment(home) | {"PYTHONPATH": str(_REPOSITORY)}
    provider.take_counts()
    said = _call([python, "-m", f"benchmarks.peers.{peer.module}", home], environment)
    return Done(read_cost(said), provider.take_counts())


def _call(command: list[Path | str], environment: dict[str, str] | None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed program
    if done.returncode:
        raise NotToBeHad(f"{(done.stderr.splitlines() or ['it said nothing'])[-1]}")
    return done.stdout
