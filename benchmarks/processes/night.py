"""
`python -m benchmarks.processes.night SOURCE`: a whole night without Prefect, and what each of its steps takes.

The source is read, completed, completed once more from the ledger, checked, offered, read by somebody who finds every
seed, delivered to a file, and reported. One line of JSON a step.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from benchmarks.meter import read_cpu_s
from benchmarks.processes.engine import N_BATCHES, Work, make_prompt, warm_up
from overnight.approve import Answers, complete_policy, decide, offer_release, open_round
from overnight.checks import BatchValidator, check_batch, parse_checks
from overnight.complete import complete_batch, get_engine
from overnight.deliver import deliver_release, describe_sink
from overnight.keys import digest_parts
from overnight.ledger.draws import SEED, find_draw
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.releases import find_release
from overnight.parts import read_part
from overnight.records import Approval, Batch, CheckedBatch, CompletedBatch, Release, ReviewPolicy
from overnight.report.brief.gather import gather_brief
from overnight.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What a step of the night took."""

    name: str
    wall_s: float
    #: With the children that it has at work.
    cpu_s: float
    #: The most memory that this process held in it.
    peak_mb: float
    ledger_mb: float


@dataclass(frozen=True)
class Night:
    """The steps over one source."""

    work: Work
    settings: Settings

    def read(self) -> list[Batch]:
        self.work.begin()
        batches = self.work.read()
        self._record(batches)
        return batches

    def complete(self, batches: list[Batch]) -> list[CompletedBatch]:
        with ThreadPoolExecutor(N_BATCHES) as pool:
            done = list(pool.map(self._complete, batches))
        self._record(done)
        return done

    def check(self, completed: list[CompletedBatch]) -> list[CheckedBatch]:
        with closing(BatchValidator()) as validator:
            checked = [self._check(batch, validator) for batch in completed]
        self._record(checked)
        return checked

    def offer(self, checked: list[CheckedBatch]) -> Release:
        facts = describe_sink(f"file:{self.settings.home / 'out.jsonl'}", self.settings)
        policy = ReviewPolicy(n_reviewers=1)
        return offer_release(
            checked,
            run_id=self.work.run_id,
            sink=facts,
            prompt=self.work.prompt,
            ledger=self.work.engine.ledger,
            place=self.settings.parts,
            policy=complete_policy(
                policy, facts.effect, waits_s=self.settings.waits_s, approval_s=self.settings.approval_s
            ),
            now=time.time(),
        )

    def review(self) -> Approval:
        ledger = self.work.engine.ledger
        for _ in range(20):
            with ledger.reading() as connection:
                release = find_release(connection, self.work.run_id)
            release = open_round(_get(release), ledger=ledger, place=self.settings.parts, now=time.time())
            decision = decide(
                release,
                Answers(decision="release", reviewer="bench", reason="read", items=self._judge(release)),
                channel="file",
                ledger=ledger,
                key_file=self.settings.approval_key,
                now=time.time(),
            )
            if decision.approval:
                return decision.approval
        raise SystemExit(f"no approval after 20 rounds: {decision.words}")

    def _judge(self, release: Release) -> dict[int, str]:
        with self.work.engine.ledger.reading() as connection:
            draw = find_draw(connection, release.release_id)
        return {n: "wrong" if drawn.stratum == SEED else "correct" for n, drawn in _get(draw).drawn.items()}

    def deliver(self, approval: Approval) -> int:
        return len(deliver_release(approval, ledger=self.work.engine.ledger, settings=self.settings))

    def report(self) -> object:
        run_id, ledger = self.work.run_id, self.work.engine.ledger
        return gather_brief(run_id, ledger=ledger, place=self.settings.parts, now=time.time())

    def _complete(self, batch: Batch) -> CompletedBatch:
        done = complete_batch(batch, self.work.prompt, run_id=self.work.run_id, engine=self.work.engine)
        if done.n_accepted != batch.n_rows:
            raise SystemExit(f"batch {batch.n}: {done}")
        return done

    def _check(self, batch: CompletedBatch, validator: BatchValidator) -> CheckedBatch:
        prompt, home, place = self.work.prompt, self.settings.home, self.settings.parts
        suite = replace(parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code))
        checked = check_batch(
            batch,
            read_part(batch.part, place),
            suite,
            prompt.checks_hash,
            validator,
            suite_name=prompt.name,
            docs_dir=home / "docs",
            place=place,
            home=home,
        )
        key = digest_parts("bench", [batch.part.digest, str(batch.n)])
        self.work.engine.ledger.write(lambda connection: record_part(connection, key, checked, time.time()))
        return checked

    def _record(self, batches: list[Batch] | list[CompletedBatch] | list[CheckedBatch]) -> None:
        self.work.engine.ledger.write(lambda connection: record_batches(connection, self.work.run_id, batches))


def _get(found: T | None) -> T:
    if found is None:
        raise SystemExit("The release, or what is to be read of it, is not in the ledger.")
    return found


def main() -> None:
    """Go through the night, and print what each step took."""
    settings = Settings.from_env()
    engine, run_id = get_engine(settings), f"bench-{time.time()}"
    warm_up(engine, run_id)
    night = Night(Work(Path(sys.argv[1]), make_prompt(), run_id, engine), settings)
    batches = _metered("intake", settings, night.read)
    completed = _metered("complete, cold", settings, lambda: night.complete(batches))
    _metered("complete, all hits", settings, lambda: night.complete(batches))
    checked = _metered("check", settings, lambda: night.check(completed))
    _metered("offer", settings, lambda: night.offer(checked))
    approval = _metered("review", settings, night.review)
    _metered("deliver", settings, lambda: night.deliver(approval))
    _metered("report", settings, night.report)


def _metered(name: str, settings: Settings, work: Callable[[], T]) -> T:
    with _metering(name, settings):
        return work()


@contextmanager
def _metering(name: str, settings: Settings) -> Iterator[None]:
    # From here on the most memory is counted anew.
    Path("/proc/self/clear_refs").write_text("5")
    cpu_s, started = read_cpu_s(), time.monotonic()
    yield
    size = sum(file.stat().st_size for file in settings.home.glob("ledger.sqlite*"))
    wall_s = time.monotonic() - started
    step = Step(name, wall_s, read_cpu_s() - cpu_s, _read_peak_mb(), size / 1e6)
    print(json.dumps(asdict(step)), flush=True)


def _read_peak_mb() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
