"""
The ways round the gate, and what stands in each: read it as a list, from the outermost layer to the last.

Python has no secrecy inside a process: who runs code with the key, or owns the database, can forge. Each layer stops
accidents, or makes it visible that something was changed.
"""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.approve.mint import Finding, mint_approval
from overnight.deliver import deliver_release, describe_sink
from overnight.deliver.credentials import resolve_credential
from overnight.deliver.drain import drain
from overnight.deliver.publish import OPEN
from overnight.deliver.verify import Verified, verify
from overnight.failures import ApprovalRefused, LedgerRefused, SinkRefused
from overnight.ledger.bodies import make_body
from overnight.ledger.outbox import consume
from overnight.ledger.releases import ReleaseRow, find_release_rows
from overnight.ledger.runs import set_state
from overnight.records import Approval, RunState
from overnight.sinks import open_sink
from tests.conftest import RUN, House
from tests.unit.conftest import Receiver
from tests.unit.test_boundary import ROOT, find_type_errors, list_strangers, list_ways_out


def _deliver(house: House, approval: Approval) -> None:
    """Try; what was written before is all that is written afterwards."""
    before = house.out.read_bytes() if house.out.exists() else None
    try:
        deliver_release(approval, ledger=house.ledger, settings=house.settings)
    finally:
        assert (house.out.read_bytes() if house.out.exists() else None) == before


def _refused(house: House, approval: Approval) -> str:
    with pytest.raises(ApprovalRefused) as caught:
        _deliver(house, approval)
    return str(caught.value)


def _list_rows(house: House, approval: Approval) -> list[ReleaseRow]:
    with house.ledger.reading() as connection:
        return find_release_rows(connection, approval.release_id)


def _make_by_hand(house: House) -> Approval:
    """An approval that nobody gave, of a release that waits."""
    release, tomorrow = house.offer(), datetime.now(UTC) + timedelta(days=1)
    return Approval(
        "f" * 32, RUN, release.release_id, release.digest, release.digest, house.sink, 3, 0, "Me", "approved", tomorrow
    )


# Types: a flow that leaves out a step is refused by mypy, before it runs.

_GIVEN = """
from overnight import deliver
from overnight.deliver.credentials import resolve_credential
from overnight.ledger import Ledger
from overnight.records import Approval, CheckedBatch, CompletedBatch, Release
from overnight.settings import Settings
from tasks import ask_approval, deliver_release, publish_report
def flow(completed: list[CompletedBatch], checked: list[CheckedBatch], shown: Release, approval: Approval) -> None:
"""
_BY_TYPE = {
    "the checked batches": "deliver_release(checked)",
    "a word": "deliver_release(True)",
    "nothing": "deliver_release(None)",
    "the id of an approval": "deliver_release(approval.approval_id)",
    "what was shown": "deliver_release(shown)",
    "what was asked for and not checked": 'ask_approval(completed, "file:out.jsonl")',
    "a report without a delivery": "publish_report(checked, checked)",
    "a sink of the flow's choice": 'deliver_release(approval, "file:elsewhere.jsonl")',
    "a credential for what is not verified": (
        'resolve_credential(approval, ["promised"], ledger=Ledger(""), settings=Settings.from_env(), now=0.0)'
    ),
}


@pytest.fixture(scope="module")
def type_errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    lines = "".join(f"    {call}\n" for call in ("deliver_release(approval)", *_BY_TYPE.values()))
    found = find_type_errors(_GIVEN + lines, tmp_path_factory.mktemp("types"))
    first = len(_GIVEN.splitlines()) + 2
    assert min(found) == first, "the right call is an error too"
    return {way: found.get(first + n, "") for n, way in enumerate(_BY_TYPE)}


@pytest.mark.parametrize("way", _BY_TYPE)
def test_types_refuse_in_place_of_an_approval(type_errors: dict[str, str], way: str) -> None:
    assert "[arg-type]" in type_errors[way] or "[call-arg]" in type_errors[way]


# Syntax trees: what a flow or a task may not even name. The same functions read flows/ and tasks/ in test_boundary.


@pytest.mark.parametrize(
    "code",
    [
        "import httpx",
        "import smtplib",
        "import socket as s",
        "import subprocess",
        "from os import system",
        "from urllib.request import urlopen",
        "def step(): import socket",
        "from overnight.sinks import open_sink",
        "from overnight import sinks",
        "from overnight.sinks.file import FileSink",
        "from overnight.approve.mint import mint_approval",
        "from overnight.approve import mint",
        "from overnight.signature import sign_approval",
        "__import__('socket').create_connection(('crm.example', 443))",
        "import importlib; importlib.import_module('socket')",
        "from importlib import import_module",
        "exec('import socket')",
        "open('out.csv', 'w').write(rows)",
        "Path('out.csv').open('w')",
        "Path('out.csv').write_text(rows)",
        "frame.to_csv('out.csv')",
        "frame.to_sql('replies', 'postgresql://crm.example/crm')",
        "sa.create_engine('postgresql://crm.example/crm')",
    ],
)
def test_syntax_trees_show_a_flow_or_a_task_that_writes_by_itself(code: str) -> None:
    assert list_ways_out(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "from overnight.deliver.drain import drain",
        "from overnight.ledger import open_ledger",
        "import overnight.deliver",
        "import tasks; tasks.deliver.deliver",
        "from tasks import deliver",
        "from tasks.deliver import send_release",
        "import pandas",
    ],
)
def test_syntax_trees_show_a_flow_that_reaches_past_its_steps(code: str) -> None:
    assert list_strangers(ast.parse(code))


# Import contract: the build fails where anybody but the delivering desk imports a sink.


def test_the_import_contract_is_broken_by_a_flow_that_imports_a_sink(tmp_path: Path) -> None:
    for folder in ("overnight", "tasks", "flows"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "flows" / "sneak.py").write_text("from overnight.sinks.file import FileSink\n")
    code = "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Only the delivering desk writes out BROKEN" in said
    assert "flows.sneak -> overnight.sinks.file" in said


# Minting and signature: an approval is what the ledger has under the gate's signature, not what a flow has in hand.


def test_the_ledger_does_not_know_an_approval_made_by_hand(house: House) -> None:
    assert "is not in the ledger" in _refused(house, _make_by_hand(house))


def test_the_publisher_refuses_a_copied_approval_with_another_sink(house: House) -> None:
    approval = house.approve(house.offer())
    said = _refused(house, replace(approval, sink=f"file:{house.home}/elsewhere.jsonl"))
    assert "is being delivered to" in said
    assert not (house.home / "elsewhere.jsonl").exists()


@pytest.mark.parametrize("field", ["release_digest", "allowed_digest"])
def test_the_publisher_refuses_a_copied_approval_with_another_digest(house: House, field: str) -> None:
    other: dict[str, Any] = {field: "0" * 64}
    assert "covers other rows" in _refused(house, replace(house.approve(house.offer()), **other))


def test_the_signature_of_one_who_mints_with_a_key_of_their_own_is_refused(house: House) -> None:
    house.approve(house.offer(run_id="night-0"))
    release = house.offer()
    (house.home / "mine.key").write_bytes(bytes(32))
    finding = Finding(("Me",), identified_by="declared", reason="", held={}, corrected=(), details={})
    minted = house.ledger.write(
        lambda c: mint_approval(
            c, release, find_release_rows(c, release.release_id), finding, key_file=house.home / "mine.key",
            now=time.time(),
        )
    )  # fmt: skip
    assert "is not as it was signed" in _refused(house, minted)


# Triggers: somebody with a database client is refused by the database itself.


def _sql(house: House, *statements: str) -> None:
    """As a stranger: by the driver alone."""
    with closing(sqlite3.connect(house.home / "ledger.sqlite")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount, "there was nothing to change"


_INTO_OUTBOX = """
    INSERT INTO outbox (approval_id, position, delivery_key, row_id, payload, state, n_sends, promised_at)
    SELECT a.approval_id, r.position, r.delivery_key, r.row_id, r.payload, 'promised', 0, 1.0
    FROM approvals a JOIN release_rows r ON r.release_id = a.release_id
"""


_COLUMNS = (
    *("release_id", "round", "release_digest", "allowed_digest", "evidence_digest", "sink", "operation", "n_allowed"),
    *(
        "n_held",
        "reviewer",
        "identified_by",
        "reason",
        "findings",
        "issued_at",
        "expires_at",
        "clock",
        "issued_mark",
        "nonce",
    ),
    *("signature", "state"),
)


def _copy_approval(**changes: str) -> str:
    """A further approval of the same release, given in SQL."""
    values = ", ".join(changes.get(name, name) for name in _COLUMNS)
    into = f"INSERT INTO approvals (approval_id, {', '.join(_COLUMNS)})"
    return f"{into} SELECT '{'e' * 32}', {values} FROM approvals"  # noqa: S608 - an edit of the ledger is the point here


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (_INTO_OUTBOX, "no row enters the outbox without a consumed approval"),
        (_copy_approval(signature="NULL"), "an approval begins signed and unused"),
        (_copy_approval(state="'consumed'"), "an approval begins signed and unused"),
        ("UPDATE approvals SET sink = 'file:elsewhere.jsonl'", "used up once, and not changed otherwise"),
        ("UPDATE approvals SET expires_at = expires_at + 86400", "used up once, and not changed otherwise"),
        ("DELETE FROM approvals", "nothing is deleted from approvals"),
        ("UPDATE held_rows SET position = 0", "a held row stays held"),
        ("DELETE FROM held_rows", "nothing is deleted from held_rows"),
        ("UPDATE release_rows SET payload = zeroblob(32)", "rows of a release are not changed"),
        ("UPDATE releases SET sink = 'file:elsewhere.jsonl'", "a release is not changed"),
        ("UPDATE draws SET items = '[]'", "what a reviewer was shown is not changed"),
        ("DELETE FROM draws", "nothing is deleted from draws"),
        ("UPDATE drawn_items SET stratum = 'random'", "a seed stays a seed, and a row a row"),
        ("UPDATE drawn_items SET position = 0", "a seed stays a seed, and a row a row"),
        ("DELETE FROM drawn_items WHERE stratum = 'seed'", "nothing is deleted from drawn_items"),
    ],
)
def test_a_trigger_refuses_the_statement_of_a_database_client(house: House, statement: str, said: str) -> None:
    approval = house.approve(house.offer(), r3="wrong")
    with pytest.raises(sqlite3.IntegrityError, match=said):
        _sql(house, statement)
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert house.out.read_bytes().count(b"\n") == 2


def test_a_trigger_refuses_to_have_a_used_approval_unused(house: House) -> None:
    deliver_release(house.approve(house.offer()), ledger=house.ledger, settings=house.settings)
    with pytest.raises(sqlite3.IntegrityError, match="used up once"):
        _sql(house, "UPDATE approvals SET state = 'approved'")


def test_a_trigger_refuses_held_rows_from_one_who_uses_the_approval_up_by_hand(house: House) -> None:
    approval = house.approve(house.offer(), r3="wrong")
    rows = _list_rows(house, approval)
    with pytest.raises(LedgerRefused, match="no row enters the outbox"):
        house.ledger.write(lambda c: consume(c, approval, rows, is_plain=False, now=time.time()))
    assert house.fetch("SELECT state FROM approvals") == [("approved",)]


def test_a_trigger_that_was_dropped_is_missed_before_anything_leaves(house: House) -> None:
    approval = house.approve(house.offer())
    _sql(house, "DROP TRIGGER overnight_outbox_needs_approval", _INTO_OUTBOX)
    with pytest.raises(LedgerRefused, match="overnight_outbox_needs_approval is missing or altered"):
        _deliver(house, approval)


# Signature and digest: who owns the database takes the triggers away, edits, and puts them back. It does not fit.


def test_the_signature_does_not_fit_an_approval_that_was_given_in_sql(house: House) -> None:
    approval = house.approve(house.offer())
    house.tamper(_copy_approval(signature="zeroblob(32)", nonce="'another'"))
    assert "is not as it was signed" in _refused(house, replace(approval, approval_id="e" * 32))


def test_the_signature_does_not_fit_an_approval_that_was_copied_in_sql(house: House) -> None:
    approval = house.approve(house.offer())
    house.tamper(_copy_approval())
    assert "is not as it was signed" in _refused(house, replace(approval, approval_id="e" * 32))


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM held_rows",
        "UPDATE held_rows SET position = 0",
        "UPDATE release_rows SET payload = (SELECT payload FROM release_rows WHERE position = 2) WHERE position = 0",
    ],
)
def test_the_digest_does_not_fit_rows_that_were_exchanged(house: House, edit: str) -> None:
    approval = house.approve(house.offer(), r3="wrong")
    house.tamper(edit)
    assert "was changed after its approval" in _refused(house, approval)


def test_the_digest_does_not_fit_bytes_that_were_exchanged(house: House) -> None:
    approval = house.approve(house.offer())
    house.tamper("UPDATE bodies SET data = :data", data=make_body(b'{"row_id":"r1","label":"mine"}').packed)
    with pytest.raises(LedgerRefused, match="missing or altered"):
        _deliver(house, approval)


# Single use: an approval delivers once.


def test_an_approval_is_used_once_and_a_replay_sends_nothing(house: House) -> None:
    approval = house.approve(house.offer())
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert "has been used already" in _refused(house, approval)


def test_an_approval_is_used_once_even_where_an_owner_of_the_database_has_it_unused(house: House) -> None:
    approval = house.approve(house.offer())
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    house.tamper("UPDATE approvals SET state = 'approved'")
    with pytest.raises(LedgerRefused, match=r"outbox\.approval_id, outbox\.position"):
        _deliver(house, approval)


def test_an_approval_that_is_not_used_up_has_promised_a_sender_nothing(house: House) -> None:
    approval = house.approve(house.offer())
    by_hand = Verified(approval, tuple(_list_rows(house, approval)))
    with closing(open_sink(house.sink, allow_hosts=frozenset())) as sink:
        drain(sink, by_hand, ledger=house.ledger, settings=house.settings)
    assert not house.out.exists()


# The state of a run is a note for people: it opens nothing.


def test_a_run_that_is_called_released_has_released_nothing(house: House) -> None:
    house.offer()
    house.ledger.write(lambda c: set_state(c, RUN, RunState.RELEASED))
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is None
    assert house.fetch("SELECT * FROM outbox") == []
    assert not house.out.exists()


# Credentials: in no environment, and read for a live approval alone.


@pytest.fixture
def secret(house: House) -> str:
    """What the receiver of a test asks for."""
    house.settings.credentials.mkdir()
    file = house.settings.credentials / "127.0.0.1"
    file.write_text("open-sesame")
    file.chmod(0o600)
    return "open-sesame"


def _resolve(house: House, verified: Verified) -> str | None:
    return resolve_credential(verified, OPEN, ledger=house.ledger, settings=house.settings, now=time.time())


def test_a_credential_is_read_for_a_verified_approval_and_never_in_the_environment(
    house: House, receiver: Receiver, secret: str
) -> None:
    approval = house.approve(house.offer(sink=receiver.uri))
    assert _resolve(house, verify(approval, ledger=house.ledger, settings=house.settings)) == secret
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert secret not in " ".join(os.environ.values())


def test_a_credential_stays_shut_for_an_approval_that_is_over(house: House, receiver: Receiver, secret: str) -> None:
    approval = house.approve(house.offer(sink=receiver.uri, approval_s=0.0))
    verified = verify(approval, ledger=house.ledger, settings=house.settings)
    with pytest.raises(ApprovalRefused, match="opens no credential"):
        _resolve(house, verified)


def test_a_credential_stays_shut_for_an_approval_that_has_delivered(
    house: House, receiver: Receiver, secret: str
) -> None:
    approval = house.approve(house.offer(sink=receiver.uri))
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    verified = verify(approval, ledger=house.ledger, settings=house.settings)
    with pytest.raises(ApprovalRefused, match="opens no credential"):
        _resolve(house, verified)


def test_a_credential_stays_shut_for_an_approval_made_by_hand(house: House, secret: str) -> None:
    by_hand = replace(_make_by_hand(house), sink="http://127.0.0.1/in")
    with pytest.raises(ApprovalRefused, match="opens no credential"):
        _resolve(house, Verified(by_hand, ()))


# Sink addresses: they are judged before anybody is asked.


@pytest.mark.parametrize("host", ["10.0.0.8", "169.254.169.254", "192.168.1.1", "[::1]", "[::ffff:10.0.0.8]"])
def test_a_sink_address_inside_the_house_is_refused(house: House, host: str) -> None:
    with pytest.raises(SinkRefused, match="is not a public address"):
        describe_sink(f"http://{host}/in", house.settings)


# Audit hook: code that no tree shows still meets the fence, where one was put up (OVERNIGHT_ONLY_HOSTS).


def test_the_audit_hook_refuses_a_connection_that_no_syntax_tree_shows(receiver: Receiver) -> None:
    port = receiver.server_port
    hidden = f"v = vars; v(v(__builtins__)['__im' 'port__']('socket'))['create_connection'](('127.0.0.1', {port}))"
    assert not list_ways_out(ast.parse(hidden))
    code = f"from overnight.only_hosts import install; install(['crm.example']); {hidden}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "PermissionError: [Errno 13] This process may not reach 127.0.0.1" in done.stderr
