"""A house for tests: a home folder, its ledger, and short ways to the steps of a run."""

from __future__ import annotations

import gc
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pyotp
import pytest
import sqlalchemy as sa

from overnight.approve import (
    Answers,
    Decision,
    complete_policy,
    decide,
    demands_code,
    offer_release,
    open_round,
)
from overnight.complete import resolve_prompt
from overnight.deliver import describe_sink
from overnight.intake import read_batches
from overnight.keys import canonical_json, request_key
from overnight.ledger import Ledger
from overnight.ledger.attempts import record_prompt
from overnight.ledger.leases import Worker
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.reviewers import find_reviewer, record_reviewer
from overnight.ledger.runs import open_pass
from overnight.ledger.triggers import drop_triggers, make_triggers
from overnight.parts import write_part
from overnight.prompts import parse_prompt
from overnight.records import Approval, Batch, CheckedBatch, Prompt, Release, ReviewPolicy, RowState, RunState
from overnight.settings import Settings
from overnight.signature import derive_secret
from tests.compiled import share_compiled
from tests.fakes.postgres import Postgres, find_postgres, start_postgres
from tests.fakes.provider import FakeProvider
from tests.honest import find_wish, read_honestly
from tests.memory import find_memory

NO_CHECKS = '{"row": [], "batch": []}'
#: Nothing listens there.
NOWHERE = "http://127.0.0.1:9/v1"
RUN = "night-1"

_TEXT = "---\nmodel: openai:gpt-fake\nid: id\ninputs: [body]\nparameters: {max_tokens: 50}\n---\n"
_TEMPLATE = "Sort this: <query>{{ body }}</query>"
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote"],
    "properties": {"label": {"enum": ["red", "green", "blue"]}, "quote": {"type": "string", "maxLength": 60}},
}


@dataclass(frozen=True)
class House:
    """One home folder with its ledger; `sink` is a file in it."""

    settings: Settings
    ledger: Ledger

    @property
    def home(self) -> Path:
        return self.settings.home

    @cached_property
    def worker(self) -> Worker:
        """Who opens attempts by hand."""
        return self.ledger.register(60.0)

    @property
    def out(self) -> Path:
        return self.home / "out.jsonl"

    @property
    def sink(self) -> str:
        return f"file:{self.out}"

    def begin(self, run_id: str = RUN, *, retries: str | None = None, now: float = 1.0) -> str:
        """Open a run as a flow does, or a retry of another."""
        kind = {"kind": "retry", "of_run": retries} if retries else {}
        self.ledger.write(
            lambda c: open_pass(
                c,
                run_id=run_id,
                flow="sort",
                parameters={},
                flow_run_id=f"of-{run_id}",
                deployed=False,
                now=now,
                **kind,
            )
        )
        return run_id

    def make_prompt(
        self, *row_rules: Mapping[str, Any], model: str | None = None, endpoint: str = NOWHERE, text: str = _TEMPLATE
    ) -> Prompt:
        """A prompt that sorts and quotes, with these row checks; the ledger keeps it."""
        checks = orjson.dumps({"row": row_rules, "batch": []}).decode()
        parsed = parse_prompt("sort", text=_TEXT + text, schema=orjson.dumps(_SCHEMA).decode(), checks=checks)
        prompt = resolve_prompt(parsed, model, endpoint=endpoint)
        self.ledger.write(lambda c: record_prompt(c, prompt, 1.0))
        return prompt

    def read_batch(self, texts: Sequence[str], n: int = 1, *, first: int = 1) -> Batch:
        """The texts as rows r1, r2, …, or from a later number, through intake; an empty one is quarantined there."""
        source = self.home / f"source-{n}.csv"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("id,body\n" + "".join(f'r{i},"{t}"\n' for i, t in enumerate(texts, first)))
        [batch] = read_batches(str(source), id_column="id", inputs=("body",), optional_inputs=(), place=self.home)
        return replace(batch, n=n)

    def check(self, texts: Sequence[str], prompt: Prompt, n: int = 1, *, first: int = 1) -> CheckedBatch:
        """The texts as accepted rows r1, r2, …, or from a later number, that the check step has passed and recorded."""
        part = write_part([_accepted_row(i, text, prompt) for i, text in enumerate(texts, first)], self.home)
        checked = CheckedBatch(n, part, prompt.prompt_hash, prompt.checks_hash, len(texts), 0, 0)
        self.ledger.write(lambda c: record_part(c, f"check-{part.digest}-{n}", checked, 1.0))
        return checked

    def offer(
        self,
        n_rows: int = 3,
        *,
        sink: str | None = None,
        run_id: str = RUN,
        now: float = 1.0,
        **policy: Any,
    ) -> Release:
        """A release of rows r1, r2, … to a sink; one reader is enough for any, unless the policy says otherwise."""
        prompt = self.make_prompt()
        checked = self.check([f"text {i}" for i in range(1, n_rows + 1)], prompt)
        self.begin(run_id)
        return self.offer_checked([checked], prompt, sink=sink, run_id=run_id, now=now, **policy)

    def offer_checked(
        self,
        checked: list[CheckedBatch],
        prompt: Prompt,
        *,
        sink: str | None = None,
        run_id: str = RUN,
        now: float = 1.0,
        held_of: Release | None = None,
        continues: str | None = None,
        approval_s: float | None = None,
        rng: random.Random | None = None,
        **policy: Any,
    ) -> Release:
        """A release of these batches, which the run keeps as its own."""
        expires_h = None if approval_s is None else approval_s / 3600
        wanted = ReviewPolicy(**({"n_reviewers": 1, "expires_h": expires_h} | policy))
        facts = describe_sink(sink or self.sink, self.settings)
        self.ledger.write(lambda c: record_batches(c, run_id, checked))
        return offer_release(
            checked,
            run_id=run_id,
            sink=facts,
            prompt=prompt,
            ledger=self.ledger,
            place=self.home,
            policy=self.complete(wanted, facts.effect),
            now=now,
            held_of=held_of,
            continues=continues,
            rng=rng,
        )

    def complete(self, policy: ReviewPolicy, effect: str = "reversible") -> ReviewPolicy:
        """The policy with the defaults of an effect and of the settings."""
        return complete_policy(policy, effect, waits_s=self.settings.waits_s, approval_s=self.settings.approval_s)

    def open_round(self, release: Release) -> Release:
        """The release with what is to be read now."""
        return open_round(release, ledger=self.ledger, place=self.home, now=time.time())

    def answer(self, release: Release, decision: Any = "release", *, reviewer: str = "Ada", **verdicts: Any) -> Answers:
        """Answers that find every seed, and every row correct but those named: `r2="wrong"`."""
        return read_honestly(self.ledger, release, decision, reviewer=reviewer, **verdicts)

    def submit(
        self, release: Release, answers: Answers, *, now: float | None = None, submitted_at: float | None = None
    ) -> Decision:
        """What comes of answers that are handed in now; where a code is due, the reviewer's own."""
        if answers.code is None and (code := self.find_code(answers.reviewer, release)):
            answers = answers.model_copy(update={"code": code})
        return decide(
            release,
            answers,
            channel="file",
            ledger=self.ledger,
            key_file=self.settings.approval_key,
            now=now or time.time(),
            submitted_at=submitted_at,
        )

    def decide(self, release: Release, answers: Answers) -> Approval | RunState:
        """A person's decision that nobody else has to join; a very small release is read in two rounds."""
        decision, wish = self.submit(release, answers), find_wish(answers)
        while decision.outcome == "more" and wish:
            release = self.open_round(release)
            again = self.answer(release, wish.decision, reviewer=wish.reviewer, **wish.verdicts)
            decision = self.submit(release, again)
        assert decision.is_final, decision.words
        return decision.approval or RunState(decision.outcome)

    def approve(self, release: Release, **verdicts: Any) -> Approval:
        """The approval of a release whose rows are all correct but those named: `r2="wrong"`."""
        found = self.decide(release, self.answer(release, **verdicts))
        assert isinstance(found, Approval)
        return found

    def enrol(self, *names: str) -> None:
        """Let these people review."""
        for name in names:
            self.ledger.write(lambda c, name=name: record_reviewer(c, name, f"nonce of {name}", "somebody", 1.0))
            derive_secret(name, f"nonce of {name}", self.settings.approval_key, is_first=True)

    def find_code(self, name: str, release: Release) -> str | None:
        """A code of the reviewer that is not used up, where one is due; who is not enrolled yet is enrolled."""
        with self.ledger.reading() as connection:
            if not demands_code(connection, release):
                return None
            found = find_reviewer(connection, name)
        if found is None:
            self.enrol(name)
            return self.find_code(name, release)
        secret = derive_secret(found.name, found.nonce, self.settings.approval_key, is_first=False)
        if (step := max(found.last_step + 1, int(time.time()) // 30 - 1)) > time.time() // 30 + 1:
            # Three codes can be given at a moment; a test that needs a fourth begins anew.
            self.tamper("UPDATE reviewers SET last_step = 0 WHERE name = :name", name=found.name)
            return self.find_code(name, release)
        return pyotp.TOTP(secret).at(step * 30)

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of an SQL query."""
        with self.ledger.reading() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def tamper(self, statement: str, **values: Any) -> None:
        """Edit the ledger behind everybody's back, as its owner can; something must be there to edit."""

        def edit(connection: sa.Connection) -> int:
            drop_triggers(connection)
            done = connection.execute(sa.text(statement), values).rowcount
            make_triggers(connection)
            return done

        assert self.ledger.write(edit)


def _accepted_row(number: int, text: str, prompt: Prompt) -> dict[str, Any]:
    given = canonical_json({"body": text}).decode()
    return {
        "row_id": f"r{number}",
        "row_number": number,
        "input": given,
        "state": RowState.ACCEPTED.value,
        "request_key": request_key(given, prompt.prompt_hash),
        "output": canonical_json({"label": "red", "quote": text}).decode(),
    }


def pytest_configure() -> None:
    # Late, since the processes that trials start come by here without it. A busy machine is slow, and no failure.
    from hypothesis import settings  # noqa: PLC0415 - see above

    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")
    share_compiled()
    if memory := find_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_finish() -> None:
    # What has been imported and collected stays to the end, and need not be looked through for garbage again and again.
    gc.freeze()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


#: Where a ledger may be kept. A test that is of each: `@pytest.mark.parametrize("database", DATABASES)`.
DATABASES = ("sqlite", "postgres")


@pytest.fixture
def database() -> str:
    """The kind of database that a test's ledger is kept in: the quicker one, where it does not matter."""
    return "sqlite"


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, database: str) -> str:
    """The address of a ledger with nothing in it."""
    url: str = request.getfixturevalue(f"{database}_url")
    return url


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database: str, home: Path) -> str:
    """An address where no ledger is yet."""
    if database == "sqlite":
        return f"sqlite:///{home / 'empty.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.make_database()


@pytest.fixture
def sqlite_url(home: Path, blank_sqlite: Path) -> str:
    home.mkdir(parents=True)
    shutil.copyfile(blank_sqlite, home / "ledger.sqlite")
    return f"sqlite:///{home / 'ledger.sqlite'}"


@pytest.fixture(scope="session")
def blank_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file: a copy of it is quicker than its making."""
    path = tmp_path_factory.mktemp("ledger") / "blank.sqlite"
    Ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def postgres_url(postgres: Postgres, blank_postgres: str) -> Iterator[str]:
    url = postgres.make_database(blank_postgres)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def blank_postgres(postgres: Postgres) -> str:
    """A migrated database, for the same reason."""
    url = postgres.make_database()
    Ledger(url).close()
    return url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests, started for the first that asks; it survives a kill, not a power cut."""
    if find_postgres() is None:
        pytest.skip("There is no Postgres on this machine: install the package postgresql to run this test.")
    with start_postgres(fsync=False, parent=find_memory()) as server:
        yield server


@pytest.fixture
def settings(home: Path, ledger_url: str) -> Settings:
    """Settings under which nothing waits."""
    return make_settings(home, ledger_url)


def make_settings(home: Path, ledger_url: str, **changes: Any) -> Settings:
    """The same, for a process of its own too."""
    plain = Settings(
        home=home,
        ledger_url=ledger_url,
        allow_hosts=frozenset({"127.0.0.1"}),
        concurrency=4,
        call_timeout_s=10.0,
        retry_base_s=0.0,
        budget_usd=None,
        nightly_budget_usd=None,
        limit=None,
        wait=False,
        run_id=None,
        waits_s=60.0,
        approval_s=3600.0,
        approval_key=home / "approval.key",
        credentials=home / "credentials",
        probe_s=0.05,
        outage_s=5.0,
    )
    return replace(plain, **changes)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with closing(Ledger(ledger_url)) as ledger:
        yield ledger


@pytest.fixture
def house(settings: Settings, ledger: Ledger) -> House:
    return House(settings, ledger)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """A provider that the environment names."""
    with FakeProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-0123456789abcdef")
        yield provider
