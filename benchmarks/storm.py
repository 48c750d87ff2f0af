"""`python -m benchmarks.storm`: what calls in flight do in a brown-out and after it, as a picture in docs/images."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from overnight.complete import Engine
from overnight.ledger import Ledger
from overnight.settings import Settings
from tests.conftest import House
from tests.trials.night import Ended, Night, cut_source

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "storm.png"
CONCURRENCY = 16
#: How long a good answer takes, and how long one that hangs is waited for.
ANSWER_S, DEADLINE_S = 0.1, 2.0
#: The calls of the storm, as shares of the rows.
STORM_FROM, STORM_TO = 0.4, 0.6
_LOOK_EVERY_S = 0.02
_DPI = 100
WHAT = "the provider fails every second call:\n30 % 429, 10 % 500, 5 % hang, 5 % cut off"
COLOURS = ["#4c9a5b", "#c8553d"]


@dataclass
class Watch:
    """What was seen of the limiter: seconds since the epoch, the limit, calls in flight."""

    times: list[float] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Course:
    """The whole of a measured night; times in seconds since the epoch."""

    ended: Ended
    watch: Watch
    #: When the provider was called.
    called_at: list[float]
    storm: tuple[float, float]
    answered_at: list[float]
    failed_at: list[float]
    #: Calls that were answered whole.
    n_paid: int


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description="Draws docs/images/storm.png.")
    parser.add_argument("--rows", type=int, default=2_000)
    n_rows = parser.parse_args().rows
    course = measure(n_rows)
    # The picture says so.
    if not course.ended.n_accepted == course.n_paid == n_rows:
        raise SystemExit(f"{course.ended.n_accepted} of {n_rows} rows were accepted, {course.n_paid} were paid for.")
    draw(course, PICTURE)
    print(f"{n_rows} rows, {len(course.called_at)} calls, {course.ended.seconds:.0f} s: {PICTURE.name}")


def measure(n_rows: int) -> Course:
    """A night whose provider is healthy, half fails for a fifth as many calls as there are rows, and is healthy."""
    first, last = int(STORM_FROM * n_rows), int(STORM_TO * n_rows)
    with tempfile.TemporaryDirectory() as folder:
        home, log = Path(folder), Path(folder) / "calls.jsonl"
        settings = replace(
            Settings.from_env(),
            home=home,
            ledger_url=f"sqlite:///{home / 'ledger.sqlite'}",
            concurrency=CONCURRENCY,
            call_timeout_s=DEADLINE_S,
            retry_base_s=0.2,
            budget_usd=None,
            nightly_budget_usd=None,
        )
        with (
            serving(first, last, log) as endpoint,
            closing(Ledger(settings.ledger_url)) as ledger,
            closing(Engine(settings, ledger)) as engine,
        ):
            house = House(settings, ledger)
            house.begin()
            prompt = house.make_prompt(endpoint=endpoint)
            night = Night(house, engine, prompt, cut_source(home, ["some words"] * n_rows))
            with watching(engine) as watch:
                ended = night.work()
            called_at = [json.loads(line)["time"] for line in log.read_text().splitlines()]
            closed = house.fetch("SELECT outcome, closed_at, status FROM attempts")
    return Course(
        ended,
        watch,
        called_at,
        (called_at[first], called_at[last]),
        [at for outcome, at, _ in closed if outcome == "accepted"],
        [at for outcome, at, _ in closed if outcome == "failed"],
        sum(status == HTTPStatus.OK for _, _, status in closed),
    )


@contextmanager
def serving(first: int, last: int, log: Path) -> Iterator[str]:
    """The provider in a process of its own; its address."""
    arguments = [str(a) for a in (first, last, 60.0, ANSWER_S, log)]
    provider = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "tests.trials.storm", *arguments], stdout=subprocess.PIPE, text=True
    )
    os.environ.setdefault("OPENAI_API_KEY", "sk-fake-0123456789abcdef")
    try:
        yield provider.stdout.readline().strip() if provider.stdout else ""
    finally:
        provider.terminate()
        provider.communicate()


@contextmanager
def watching(engine: Engine) -> Iterator[Watch]:
    """Look at the limiter every few milliseconds."""
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY_S):
            watch.times.append(time.time())
            watch.limits.append(engine.limiter.limit)
            watch.in_flight.append(engine.limiter.in_flight)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def draw(course: Course, to: Path) -> None:
    """Two panels over one time, which counts from the storm's beginning."""
    start, end = course.storm
    last_s = int(max(course.answered_at) - start)
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9.0, 5.6), layout="constrained")
    for axes in (above, below):
        axes.axvspan(0, end - start, color="#f3d9a4", alpha=0.55, lw=0)
        axes.grid(axis="y", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
    _draw_limit(above, course.watch, start)
    above.text((end - start) / 2, 1.27 * CONCURRENCY, WHAT, ha="center", va="top", fontsize=10)
    _draw_calls(below, course, start, last_s)
    n_rows, n_calls = course.ended.n_accepted, len(course.called_at)
    figure.suptitle(f"{n_rows:,} rows, {n_calls:,} calls: every row is answered, none is paid for twice", fontsize=13)
    figure.savefig(to, dpi=_DPI)
    plt.close(figure)


def _draw_limit(axes: Axes, watch: Watch, start: float) -> None:
    seconds = [at - start for at in watch.times]
    axes.fill_between(seconds, watch.in_flight, step="post", color="#9ec3e6", lw=0)
    axes.step(seconds, watch.limits, where="post", color="#1f4e8c", lw=2)
    axes.set(ylim=(0, 1.3 * CONCURRENCY), yticks=range(0, CONCURRENCY + 1, 4), ylabel="calls in flight")
    # Named where they are: a legend would cover one of them.
    axes.text(seconds[-1] - 0.5, 1.03 * CONCURRENCY, "the limit", color="#1f4e8c", ha="right", va="bottom")
    axes.text(seconds[-1] - 0.5, CONCURRENCY / 2, "calls in flight", color="#1f4e8c", ha="right", va="center")


def _draw_calls(axes: Axes, course: Course, start: float, last_s: int) -> None:
    first_s = math.ceil(course.called_at[0] - start)
    counted = [[at - start for at in times] for times in (course.answered_at, course.failed_at)]
    bins = range(first_s, last_s + 1)
    axes.hist(counted, bins, stacked=True, color=COLOURS, rwidth=0.9, label=["answers", "failures"])
    axes.set(ylabel="calls ended in a second", xlabel="seconds since the provider began to fail")
    axes.set_xlim(first_s, last_s)
    axes.xaxis.set_major_locator(MultipleLocator(5))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper center", bbox_to_anchor=(0.52, 1.0), framealpha=1.0)


if __name__ == "__main__":
    main()
