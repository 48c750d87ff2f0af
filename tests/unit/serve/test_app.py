"""A row that is handed in is kept once, and is looked up by its key until its answer is there."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from overnight.inbox import find
from tests.conftest import DATABASES
from tests.unit.inbox.conftest import Desk
from tests.unit.serve.conftest import Front

ROW = {"id": "r1", "body": "words"}


def post(client: httpx.Client, row: Any = ROW, prompt: str = "sort") -> httpx.Response:
    return client.post(f"/v1/requests/{prompt}", json={"row": row})


def settle(front: Front, **values: Any) -> None:
    marks = ", ".join(f"{name} = :{name}" for name in values)
    # An answer that no delivery wrote: the database itself would refuse it.
    front.house.tamper(f"UPDATE inbox SET {marks}", **values)  # noqa: S608 - names of this file


def test_a_row_is_kept_under_a_key_and_looked_up_where_the_answer_says(front: Front, ada: httpx.Client) -> None:
    made = post(ada)
    assert made.status_code == 202
    assert made.headers["location"] == made.json()["url"]
    found = ada.get(made.headers["location"])
    assert found.status_code == 200
    shown = found.json()
    assert shown.pop("received_at").endswith("Z")
    assert shown == {
        "key": made.json()["key"],
        "prompt": "sort",
        "row_id": "r1",
        "state": "queued",
        "settled_at": None,
        "run_id": None,
        "answer": None,
        "reason": None,
    }
    assert front.house.fetch("SELECT sent_by FROM inbox") == [("http:ada",)]


@pytest.mark.parametrize("database", DATABASES)
def test_the_same_row_from_many_at_once_is_one_request(front: Front, ada: httpx.Client) -> None:
    with front.admit("bob") as bob, ThreadPoolExecutor(16) as threads:
        made = list(threads.map(post, [ada, bob] * 8))
        other = post(ada, {"body": "words", "id": "r1"})
        assert {response.status_code for response in made} == {202}
        assert {response.json()["key"] for response in made} == {other.json()["key"]}
        assert [response.json()["is_new"] for response in made].count(True) == 1
        assert not other.json()["is_new"]
        # Whoever has the row may see what became of it.
        assert bob.get(other.json()["url"]).json() == ada.get(other.json()["url"]).json()
    assert front.house.fetch("SELECT count(*) FROM inbox") == [(1,)]


@pytest.mark.parametrize("database", DATABASES)
def test_an_answer_is_given_byte_for_byte_and_the_row_is_not_asked_again(front: Front, ada: httpx.Client) -> None:
    made = post(ada).json()
    with ExitStack() as stack:
        desk = Desk(front.house, stack)
        release = desk.offer("run-1", desk.take("run-1"))
        assert ada.get(made["url"]).json()["answer"] is None
        desk.publish(release)
        released = desk.find(made["key"])
    found = ada.get(made["url"])
    assert released.answer
    assert f'"answer":{released.answer}' in found.text
    assert released.settled_at
    assert found.json()["settled_at"] == f"{datetime.fromtimestamp(released.settled_at, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    again = post(ada)
    assert (again.status_code, again.json()["state"], again.json()["is_new"]) == (200, "answered", False)


def test_an_answer_counts_as_read_once_it_was_shown_and_not_when_its_row_is_handed_in_again(
    front: Front, ada: httpx.Client
) -> None:
    made = post(ada).json()
    with ExitStack() as stack:
        desk = Desk(front.house, stack)
        desk.publish(desk.offer("run-1", desk.take("run-1")))
    assert post(ada).json()["state"] == "answered"
    assert front.house.fetch("SELECT read_at FROM inbox") == [(None,)]
    assert ada.get(made["url"]).json()["answer"]
    assert front.house.fetch("SELECT read_at FROM inbox") != [(None,)]


def test_a_request_without_an_answer_says_why(front: Front, ada: httpx.Client) -> None:
    url = post(ada).json()["url"]
    settle(front, state="closed", reason="The reviewer held it back.")
    assert (ada.get(url).json()["reason"], post(ada).status_code) == ("The reviewer held it back.", 200)


def test_what_is_not_there_is_not_found(front: Front, ada: httpx.Client) -> None:
    key = post(ada).json()["key"]
    for path in (f"sort/{'0' * 64}", f"other/{key}", "sort/zz", f"sort/{key.upper()}", "sort/%00"):
        found = ada.get(f"/v1/requests/{path}")
        assert (found.status_code, found.headers["content-type"]) == (404, "application/problem+json"), path
    refused = post(ada, prompt="no-such")
    assert refused.status_code == 404
    assert "There are: sort." in refused.json()["detail"]
    assert post(ada, prompt="..").status_code in (404, 405)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"row": {"id": "r1"}}', '"body" is a required property'),
        ('{"row": {"id": "r1", "body": "w", "urgent": 1}}', "'urgent' was unexpected"),
        ('{"row": {"id": "r1", "body": " "}}', "row/body"),
        ('{"row": {"id": 1.5, "body": "w"}}', "row/id"),
        ('{"row": {"id": "r1", "body": "a\\u0000"}}', "row/body"),
        ('{"row": {"id": "r1", "body": 123456789012345678901234567890}}', "row/body"),
        ('{"row": {"id": "r1", "body": "\\ud800"}}', "surrogate"),
        ('{"row": {"id": "r1", "body": NaN}}', "no JSON"),
        ('{"row": {"id": "r1", "body": 1e999}}', "no JSON"),
        ('{"row": {"id": "r1", "body": ' + "[" * 900 + "]" * 900 + "}}", "Recursion limit"),
        ('{"row": ' + "[" * 90_000, "no JSON"),
        ('{"row": []}', 'not {"row"'),
        ('{"row": {"id": "r1", "body": "w"}, "more": 1}', 'not {"row"'),
        ("", "no JSON"),
        ("\xff", "no JSON"),
    ],
)
def test_a_body_that_no_prompt_could_be_asked_is_refused_in_one_line(
    front: Front, ada: httpx.Client, body: str, why: str
) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    refused = ada.post("/v1/requests/sort", content=body.encode("latin-1"), headers=headers)
    problem = refused.json()
    assert (refused.status_code, problem["status"]) == (422, 422)
    assert why in problem["detail"]
    assert "\n" not in problem["detail"]
    assert front.house.fetch("SELECT count(*) FROM inbox") == [(0,)]


def test_a_whole_number_names_the_same_row_however_it_is_written(ada: httpx.Client) -> None:
    made = [post(ada, {"id": name, "body": "w"}) for name in (7, 7.0, "7")]
    assert len({response.json()["key"] for response in made}) == 1


def test_a_body_that_is_not_declared_as_json_is_refused(ada: httpx.Client) -> None:
    refused = ada.post("/v1/requests/sort", data={"row": "{}"})
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json")


@pytest.mark.parametrize("database", DATABASES)
def test_a_full_inbox_takes_no_more_until_a_run_has_taken_some(serve: Any) -> None:
    front = serve(most_queued=2)
    with front.admit("ada") as ada:
        made = [post(ada, {"id": f"r{n}", "body": "w"}) for n in range(3)]
        assert [response.status_code for response in made] == [202, 202, 503]
        assert int(made[2].headers["retry-after"]) > 0
        assert ada.get(made[0].json()["url"]).status_code == 200
        settle(front, state="taken")
        assert post(ada, {"id": "r2", "body": "w"}).status_code == 202


def test_a_ledger_that_is_away_is_said_so_to_the_client_and_to_the_owner(
    front: Front, ada: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    url = post(ada).json()["url"]
    front.house.ledger.write(lambda c: c.execute(sa.text("ALTER TABLE inbox RENAME TO away")))
    for refused in (post(ada, {"id": "r2", "body": "w"}), ada.get(url)):
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert "no such table" not in refused.text
    lines = [record.getMessage() for record in caplog.records if record.name == "overnight.serve"]
    assert len(lines) == 2
    assert all("no such table" in line and "\n" not in line for line in lines)


def test_a_prompt_is_read_again_when_it_changes(
    front: Front, ada: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    file = front.prompts / "sort" / "prompt.md"
    text = file.read_text()
    assert post(ada).status_code == 202
    with caplog.at_level(logging.ERROR, "overnight.serve"):
        file.write_text(text.replace("{{ body }}", "{{ bodies }}"))
        broken = post(ada, {"id": "r2", "body": "w"})
        assert (broken.status_code, "bodies" in broken.text) == (503, False)
    [line] = [record.getMessage() for record in caplog.records if record.name == "overnight.serve"]
    assert "bodies, which is not declared" in line
    file.write_text(text.replace("note", "place"))
    assert post(ada, {"id": "r2", "body": "w", "place": "here"}).status_code == 202
    assert post(ada, {"id": "r2", "body": "w", "note": "here"}).status_code == 422


def test_what_an_answer_holds_of_a_secret_is_not_what_was_sent(front: Front, ada: httpx.Client) -> None:
    assert post(ada, {"id": "r1", "body": "sk-proj-abcdefghijABCDEFGHIJ0123456789"}).status_code == 202
    [(kept,)] = front.house.fetch("SELECT input FROM inbox")
    assert "sk-proj" not in kept
    # And find() knows it as any other request of the inbox.
    [(key,)] = front.house.fetch("SELECT hex(inbox_key) FROM inbox")
    assert find(key.lower(), ledger=front.house.ledger) is not None


def test_a_complaint_repeats_nothing_of_what_a_field_holds(ada: httpx.Client) -> None:
    refused = post(ada, {"id": {"secret": "words"}, "body": "secret words"})
    assert (refused.status_code, "secret" in refused.text) == (422, False)
