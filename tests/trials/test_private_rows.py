"""Secrets are nowhere, and private values stand in the ledger and the parts alone; after a purge not even there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
import zstandard

from overnight.checks import BatchValidator
from overnight.cli.sitting import sit_down
from overnight.ledger.releases import find_release
from overnight.purge import purge
from overnight.report.measure import measure, render_markdown
from tasks.form import describe_release, make_form
from tests.conftest import House
from tests.fakes.provider import FakeProvider
from tests.trials.private_night import OWN_SECRET, PRIVATE, SECRETS, PrivateNight, publish, spend_night
from tests.unit.page.conftest import open_page


@pytest.fixture(scope="module")
def validator() -> Iterator[BatchValidator]:
    found = BatchValidator()
    found.start()
    yield found
    found.close()


@pytest.fixture
def night(
    house: House,
    fake: FakeProvider,
    validator: BatchValidator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> PrivateNight:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("OPENAI_API_KEY", OWN_SECRET)
    return spend_night(house, fake, validator)


def read_ledger(house: House) -> bytes:
    """Every value of every table, and the bodies unpacked."""
    names = [row[0] for row in house.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = [repr(house.fetch(f"SELECT * FROM {name}")) for name in names]  # noqa: S608 - names of ours
    data = [row[0] for row in house.fetch("SELECT data FROM bodies WHERE length(data) > 0")]
    unpacked = [zstandard.ZstdDecompressor().decompress(one, max_output_size=10_000_000) for one in data]
    return "".join(rows).encode() + b"".join(unpacked)


def read_files(home: Path, *folders: str) -> dict[str, bytes]:
    found = [path for folder in folders or ("",) for path in (home / folder).rglob("*")]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def find_in(needle: str, texts: dict[str, bytes]) -> list[str]:
    return [where for where, data in texts.items() if needle.encode() in data]


def read_shown(night: PrivateNight) -> dict[str, str]:
    """All that people see of the night."""
    house = night.house
    report = measure(night.run_id, ledger=house.ledger, place=house.home, now=3.0)
    form = make_form(night.release, describe_release(night.release, "said"), demands_code=True)
    with house.ledger.reading() as connection:
        found = find_release(connection, night.run_id)
    assert found is not None
    shown = {
        "report": render_markdown(report) + repr(report),
        "form": json.dumps(form.model_json_schema()) + describe_release(night.release),
        "json": orjson.dumps([asdict(item) for item in found.items]).decode(),
        "docs": "".join(map(str, read_files(house.home, "docs").values())),
    }
    review = sit_down(night.release, house.settings, house.ledger, channel="page", reviewer="Ada")
    with open_page(review) as browser:
        for item in night.release.items:
            shown[f"page {item.item}"] = browser.get(f"/item/{item.item}")
            review.reading.verdicts.pop(item.item, None)
            shown[f"edit {item.item}"] = browser.get(f"/item/{item.item}/edit")
        shown["start"] = browser.get("/")
    return shown


def test_no_secret_of_a_row_or_of_a_provider_stands_anywhere(
    night: PrivateNight, fake: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    # The provider had the process's own key, or it would have asked nobody; it never had the row's.
    assert {call.headers["authorization"] for call in fake.calls} == {f"Bearer {OWN_SECRET}"}
    publish(night)
    texts = read_files(night.house.home) | {
        "ledger": read_ledger(night.house),
        "log": caplog.text.encode(),
        "asked": b"".join(call.raw for call in fake.calls),
        **{where: text.encode() for where, text in read_shown(night).items()},
    }
    assert [(secret, find_in(secret, texts)) for secret in SECRETS if find_in(secret, texts)] == []
    assert "1 row held what looks like a key" in texts["report"].decode()


def test_a_request_is_recorded_as_it_was_sent_byte_for_byte(night: PrivateNight, fake: FakeProvider) -> None:
    recorded = read_ledger(night.house)
    assert [call for call in fake.calls if call.raw not in recorded] == []


def test_private_values_are_in_nothing_that_people_see(
    night: PrivateNight, caplog: pytest.LogCaptureFixture, fake: FakeProvider
) -> None:
    shown = read_shown(night)
    assert PRIVATE.encode() in read_ledger(night.house)
    assert [where for where, text in shown.items() if PRIVATE in text] == []
    assert "[private: email]" in shown["json"]
    assert "hidden from readers" in shown["start"]
    assert PRIVATE not in caplog.text


def test_what_was_read_hidden_leaves_whole_also_where_it_was_corrected(night: PrivateNight) -> None:
    shown = {item.row_id: item.output for item in night.release.items}
    assert shown["r1"]["contact"] == "[private: contact of the answer]"
    # Not of what is shown of r1, which may be a seed.
    mended = {"corrected": {"quote": "as [private: email] said, with [secret removed]", "label": "blue"}}
    publish(night, r1=mended, r9={"corrected": {"contact": "new@example.org"}})
    left = {row["row_id"]: row for row in map(json.loads, night.house.out.read_text().splitlines())}
    assert left["r1"]["label"] == "blue"
    assert left["r1"]["contact"] == f"person1{PRIVATE}"
    assert left["r1"]["quote"].startswith(f"as person1{PRIVATE} said")
    assert left["r9"]["contact"] == "new@example.org"
    assert left["r10"]["contact"] == f"person10{PRIVATE}"


def test_what_a_provider_says_of_a_row_is_told_without_its_private_values(night: PrivateNight) -> None:
    [(message,)] = night.house.fetch("SELECT message FROM attempts WHERE status = 400")
    assert "[private: email]" in message
    assert PRIVATE not in message


def test_an_approval_signs_no_text_of_a_row(night: PrivateNight) -> None:
    publish(night, r1={"corrected": {"label": "blue"}})
    [(findings,)] = night.house.fetch("SELECT findings FROM approvals")
    assert PRIVATE not in findings


def test_after_a_purge_no_private_value_is_in_any_file(night: PrivateNight) -> None:
    house = night.house
    publish(night, r1={"corrected": {"label": "blue"}})
    house.ledger.write(lambda c: c.exec_driver_sql("UPDATE runs SET state = 'released'"))
    house.out.unlink()
    assert find_in(PRIVATE, read_files(house.home, "parts"))
    done = purge(
        house.ledger, house.home, house.home, before=time.time() + 60, by="Ada", clock=lambda: time.time() + 2 * 86_400
    )
    assert done.left == ()
    assert find_in(PRIVATE, read_files(house.home) | {"ledger": read_ledger(house)}) == []
    assert find_in("text 1 of the door", read_files(house.home) | {"ledger": read_ledger(house)}) == []
