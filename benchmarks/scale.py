"""`python -m benchmarks.scale [N …]`: whole nights of N rows, and what each step of them takes."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.serving import Provider, make_command, serving, write_source

_HEAD = "| rows | step | CPU | a row | peak memory | ledger after it |\n|---|---|---|---|---|---|"


def main() -> None:
    """Measure and print; 100,000 rows take some minutes, and 300 MB where temporary files lie."""
    parser = argparse.ArgumentParser(description="What the steps of a night take, by its size.")
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    print(_HEAD, flush=True)
    with serving() as provider:
        for n_rows in parser.parse_args().sizes:
            _measure(provider, n_rows)


def _measure(provider: Provider, n_rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_source(folder / "rows.parquet", n_rows)
        command, environment = make_command("night", source), provider.environment(folder / "home")
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own interpreter
            for line in process.stdout or ():
                print(_describe(n_rows, json.loads(line)), flush=True)
        if process.returncode:
            raise SystemExit(process.returncode)


def _describe(n_rows: int, step: dict[str, Any]) -> str:
    micros = 1e6 * step["cpu_s"] / n_rows
    cells = (f"{n_rows:,}", step["name"], f"{step['cpu_s']:.1f} s", f"{micros:,.0f} µs", f"{step['peak_mb']:,.0f} MB")
    return f"| {' | '.join(cells)} | {step['ledger_mb']:,.0f} MB |"


if __name__ == "__main__":
    main()
