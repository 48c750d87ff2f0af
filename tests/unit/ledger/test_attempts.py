from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.failures import LedgerRefused
from overnight.keys import digest_bytes
from overnight.ledger.attempts import NotOpened, Opening, open_attempts
from overnight.ledger.bodies import get_body, make_body, record_bodies
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.completions import (
    Completion,
    Refusal,
    accept,
    find_completions,
    find_refusals,
    forget_refusals,
    refuse,
)
from overnight.ledger.leases import release
from overnight.ledger.spend import Shortfall
from overnight.records import Prompt, Reply, Usage
from tests.conftest import RUN, House

KEY, OTHER = digest_bytes(b"one"), digest_bytes(b"other")


@pytest.fixture
def prompt(house: House) -> Prompt:
    house.begin()
    return house.make_prompt()


def _open_all(house: House, prompt: Prompt, *keys: str) -> list[int | Shortfall | NotOpened]:
    return _record(house, [Opening(key, prompt.prompt_hash, "{}", make_body(b"sent"), RUN, 1.0) for key in keys])


def _record(house: House, openings: list[Opening]) -> list[int | Shortfall | NotOpened]:
    worker = house.worker
    return house.ledger.write(lambda c: open_attempts(c, worker, openings))


def _open(house: House, prompt: Prompt, key: str = KEY) -> int:
    [attempt_id] = _open_all(house, prompt, key)
    assert isinstance(attempt_id, int)
    return attempt_id


def _close(house: House, *closings: Closing) -> None:
    house.ledger.write(lambda c: close_attempts(c, closings))


def _accept(house: House, attempt_id: int, output: str, key: str = KEY) -> None:
    house.ledger.write(lambda c: accept(c, [(key, Completion(attempt_id, output))], 2.0))


def _find(house: House) -> dict[str, Completion]:
    with house.ledger.reading() as connection:
        return find_completions(connection, [KEY, OTHER])


def test_each_attempt_has_an_id_of_its_own_and_ids_grow(house: House, prompt: Prompt) -> None:
    ids = [_open(house, prompt, key) for key in (KEY, OTHER, KEY, KEY)]
    assert ids == sorted(set(ids))
    assert house.fetch("SELECT attempt_id, outcome FROM attempts ORDER BY attempt_id") == [(i, "open") for i in ids]


def test_a_closed_attempt_holds_all_that_came_back(house: House, prompt: Prompt) -> None:
    attempt_id = _open(house, prompt)
    reply = Reply(
        status=200,
        body=b"answer",
        headers={"request-id": "req_1"},
        text="{}",
        reasoning="because",
        stop_reason="stop",
        model_served="gpt-fake",
        request_id="req_1",
        usage=Usage(10, 5, 4, 3, 2),
    )
    body = make_body(reply.body)
    _close(house, Closing(attempt_id, KEY, 2.0, "accepted", latency_s=0.5, reply=reply, body=body, cost_usd=0.25))
    found = house.fetch(
        "SELECT outcome, status, model_served, provider_request_id, headers, stop_reason, reasoning, input_tokens,"
        " output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, latency_s, closed_at"
        " FROM attempts"
    )
    ids = ("gpt-fake", "req_1", '{"request-id":"req_1"}')
    assert found == [("accepted", 200, *ids, "stop", "because", 10, 5, 4, 3, 2, 0.25, 0.5, 2.0)]
    with house.ledger.reading() as connection:
        assert get_body(connection, digest_bytes(b"answer")) == b"answer"


def test_the_first_completion_of_a_request_stays(house: House, prompt: Prompt) -> None:
    first, second = _open(house, prompt), _open(house, prompt)
    _accept(house, first, '{"label":"red"}')
    _accept(house, second, '{"label":"blue"}')
    assert _find(house) == {KEY: Completion(first, '{"label":"red"}')}


def test_of_requests_opened_together_each_has_an_attempt_of_its_own_and_a_settled_one_has_none(
    house: House, prompt: Prompt
) -> None:
    done, refused, again = (digest_bytes(name) for name in (b"done", b"refused", b"again"))
    _accept(house, _open(house, prompt, done), "{}", done)
    attempt_id = _open(house, prompt, refused)
    _close(house, Closing(attempt_id, refused, 2.0, "failed", refusal=Refusal(attempt_id, "refusal", None, "no", None)))
    _open(house, prompt, again)
    first, settled, second, closed, third = _open_all(house, prompt, KEY, done, again, refused, OTHER)
    assert (settled, closed) == (NotOpened.SETTLED, NotOpened.SETTLED)
    found = {attempt_id: key.hex() for key, attempt_id in house.fetch("SELECT request_key, attempt_id FROM attempts")}
    assert [found[attempt_id] for attempt_id in (first, second, third)] == [KEY, again, OTHER]
    assert len(found) == 6


def test_where_all_are_settled_nothing_is_opened(house: House, prompt: Prompt) -> None:
    _accept(house, _open(house, prompt), "{}")
    assert _open_all(house, prompt, KEY, KEY) == [NotOpened.SETTLED, NotOpened.SETTLED]
    assert house.fetch("SELECT count(*) FROM attempts") == [(1,)]


def test_of_the_same_request_opened_twice_together_one_is_sent(house: House, prompt: Prompt) -> None:
    first, other, second = _open_all(house, prompt, KEY, OTHER, KEY)
    assert second is NotOpened.ELSEWHERE
    assert house.fetch("SELECT attempt_id FROM attempts ORDER BY attempt_id") == [(first,), (other,)]


def test_a_request_whose_answer_was_lost_is_not_paid_for_again(house: House, prompt: Prompt) -> None:
    attempt_id = _open(house, prompt)
    _close(house, Closing(attempt_id, KEY, 2.0, "accepted", completion=Completion(attempt_id, "{}")))
    house.tamper("DELETE FROM completions")
    with pytest.raises(LedgerRefused, match=f"Request {KEY[:12]} was answered, and the ledger has lost its answer"):
        _open(house, prompt)
    assert house.fetch("SELECT count(*) FROM attempts") == [(1,)]


def test_attempts_closed_together_end_each_in_its_own_way(house: House, prompt: Prompt) -> None:
    unsent = digest_bytes(b"unsent")
    good, bad, left = (_open(house, prompt, key) for key in (KEY, OTHER, unsent))
    refusal = Refusal(bad, "check_failed", "max_chars(quote)", "too long", '{"label":"blue"}')
    _close(
        house,
        Closing(
            good,
            KEY,
            2.0,
            "accepted",
            cost_usd=0.5,
            body=make_body(b"answer"),
            completion=Completion(good, '{"label":"red"}'),
        ),
        Closing(bad, OTHER, 3.0, "failed", failure_class="check_failed", refusal=refusal),
        Closing(left, unsent, 4.0, "unsent"),
    )
    assert house.fetch("SELECT outcome, failure_class, cost_usd, closed_at FROM attempts ORDER BY attempt_id") == [
        ("accepted", None, 0.5, 2.0),
        ("failed", "check_failed", None, 3.0),
        ("unsent", None, None, 4.0),
    ]
    assert _find(house) == {KEY: Completion(good, '{"label":"red"}')}
    with house.ledger.reading() as connection:
        assert find_refusals(connection, [KEY, OTHER, unsent]) == {OTHER: refusal}


def test_what_was_reserved_stays_with_the_attempt(house: House, prompt: Prompt) -> None:
    opening = Opening(KEY, prompt.prompt_hash, "{}", make_body(b"sent"), RUN, 1.0, reserved_usd=0.25)
    [attempt_id] = _record(house, [opening])
    assert isinstance(attempt_id, int)
    _close(house, Closing(attempt_id, KEY, 2.0, "failed", failure_class="timeout"))
    assert house.fetch("SELECT outcome, reserved_usd, cost_usd FROM attempts") == [("failed", 0.25, None)]


def test_the_first_refusal_of_a_request_stays(house: House, prompt: Prompt) -> None:
    attempt_id = _open(house, prompt)
    for reason in ("it is blue", "it is green"):
        refusal = Refusal(attempt_id, "check_failed", "max_chars(quote)", reason, "{}")
        house.ledger.write(lambda c, r=refusal: refuse(c, [(KEY, r)], 2.0))  # type: ignore[misc]
    with house.ledger.reading() as connection:
        assert find_refusals(connection, [KEY, OTHER])[KEY].reason == "it is blue"


def test_what_was_refused_for_one_reason_is_taken_back_and_nothing_else(house: House, prompt: Prompt) -> None:
    for key, failure_class in ((KEY, "bad_request"), (OTHER, "refusal")):
        attempt_id = _open(house, prompt, key)
        _close(
            house, Closing(attempt_id, key, 2.0, "failed", refusal=Refusal(attempt_id, failure_class, None, "no", None))
        )
    for key in (KEY, OTHER):
        house.tamper("UPDATE attempts SET failure_class = 'bad_request' WHERE request_key = :k", k=bytes.fromhex(key))
    assert house.ledger.write(lambda c: forget_refusals(c, [OTHER], "bad_request")) == []
    assert house.ledger.write(lambda c: forget_refusals(c, [KEY, OTHER], "bad_request")) == [KEY]
    with house.ledger.reading() as connection:
        assert list(find_refusals(connection, [KEY, OTHER])) == [OTHER]


def test_an_attempt_that_asks_otherwise_keeps_what_it_sent_to_whom_and_why(house: House, prompt: Prompt) -> None:
    first = Opening(KEY, prompt.prompt_hash, "{}", make_body(b"sent"), RUN, 1.0)
    other = replace(first, cause="stronger", sent=make_body(b"asked anew"), model="openai:big", endpoint="http://there")
    for opening in (first, other):
        _record(house, [opening])
    found = house.fetch("SELECT cause, model, endpoint, sent FROM attempts ORDER BY attempt_id")
    assert found[0] == ("first", None, None, None)
    assert found[1] == ("stronger", "openai:big", "http://there", bytes.fromhex(digest_bytes(b"asked anew")))
    with house.ledger.reading() as connection:
        assert get_body(connection, digest_bytes(b"asked anew")) == b"asked anew"


def test_more_keys_than_one_statement_takes_are_all_found(house: House, prompt: Prompt) -> None:
    keys = [digest_bytes(str(n).encode()) for n in range(1200)]
    for key in (keys[0], keys[600], keys[-1]):
        _accept(house, _open(house, prompt, key), "{}", key)
    with house.ledger.reading() as connection:
        assert set(find_completions(connection, keys)) == {keys[0], keys[600], keys[-1]}


@pytest.mark.parametrize(
    "change", ["""output = '{"label":"blue"}'""", "model = 'openai:other'"], ids=["answer", "model"]
)
def test_an_altered_completion_is_refused_when_it_is_read(house: House, prompt: Prompt, change: str) -> None:
    _accept(house, _open(house, prompt), '{"label":"red"}')
    house.tamper(f"UPDATE completions SET {change}")  # noqa: S608 - ours
    with pytest.raises(LedgerRefused, match=f"answer of request {KEY[:12]} was altered"):
        _find(house)


def test_a_whole_answer_in_the_place_of_another_is_refused(house: House, prompt: Prompt) -> None:
    _open(house, prompt)
    _accept(house, _open(house, prompt, OTHER), '{"label":"red"}', OTHER)
    house.tamper("UPDATE completions SET request_key = :k", k=bytes.fromhex(KEY))
    with pytest.raises(LedgerRefused, match=f"answer of request {KEY[:12]} was altered"):
        _find(house)


def test_an_altered_answer_that_was_refused_is_noticed_too(house: House, prompt: Prompt) -> None:
    refusal = Refusal(_open(house, prompt), "check_failed", None, "it is red", '{"label":"red"}')
    house.ledger.write(lambda c: refuse(c, [(KEY, refusal)], 2.0))
    house.tamper("""UPDATE quarantines SET output = '{"label":"blue"}'""")
    with house.ledger.reading() as connection, pytest.raises(LedgerRefused, match=f"answer of request {KEY[:12]} was"):
        find_refusals(connection, [KEY])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (make_body(b"other").packed, "missing or altered"),
        (b"no zstd", "missing or altered"),
        (b"", "dropped by `overnight purge`"),
    ],
    ids=["other bytes", "garbage", "empty"],
)
def test_an_altered_body_is_refused_when_it_is_read(house: House, data: bytes, why: str) -> None:
    body = make_body(b"plain")
    house.ledger.write(lambda c: record_bodies(c, [body]))
    house.tamper("UPDATE bodies SET data = :data", data=data)
    with house.ledger.reading() as connection, pytest.raises(LedgerRefused, match=why):
        get_body(connection, body.digest)


def test_a_missing_body_is_refused(house: House) -> None:
    with house.ledger.reading() as connection, pytest.raises(LedgerRefused, match=f"Body {KEY[:12]} is missing"):
        get_body(connection, KEY)


def test_an_empty_body_is_a_body(house: House) -> None:
    house.ledger.write(lambda c: record_bodies(c, [make_body(b"")]))
    with house.ledger.reading() as connection:
        assert get_body(connection, digest_bytes(b"")) == b""


def test_a_body_is_kept_once(house: House) -> None:
    for _ in range(2):
        house.ledger.write(lambda c: record_bodies(c, [make_body(b"same"), make_body(b"same")]))
    assert house.fetch("SELECT n_bytes FROM bodies") == [(4,)]


def _lose(house: House, prompt: Prompt) -> tuple[int, int]:
    """An attempt whose request another worker has taken over, and that worker's."""
    late, other = _open(house, prompt), house.ledger.register(60.0)
    house.ledger.write(lambda c: release(c, house.worker))
    opening = Opening(KEY, prompt.prompt_hash, "{}", make_body(b"sent"), RUN, 2.0)
    [taken] = house.ledger.write(lambda c: open_attempts(c, other, [opening]))
    assert isinstance(taken, int)
    return late, taken


def _accepted(attempt_id: int, output: str) -> Closing:
    return Closing(attempt_id, KEY, 3.0, "accepted", cost_usd=0.5, completion=Completion(attempt_id, output))


def test_an_answer_that_comes_while_another_worker_asks_is_kept_with_its_cost_and_settles_nothing(
    house: House, prompt: Prompt
) -> None:
    late, taken = _lose(house, prompt)
    _close(house, _accepted(late, '{"label":"red"}'))
    assert _find(house) == {}
    _close(house, _accepted(taken, '{"label":"blue"}'))
    assert _find(house) == {KEY: Completion(taken, '{"label":"blue"}')}
    outcomes = dict(house.fetch("SELECT attempt_id, outcome FROM attempts"))
    assert outcomes == {late: "fenced", taken: "accepted"}
    assert house.fetch("SELECT sum(cost_usd) FROM attempts") == [(1.0,)]


def test_an_answer_that_comes_when_the_other_worker_has_given_up_is_the_answer(house: House, prompt: Prompt) -> None:
    late, taken = _lose(house, prompt)
    _close(house, Closing(taken, KEY, 3.0, "failed", failure_class="timeout"))
    _close(house, _accepted(late, '{"label":"red"}'))
    assert _find(house) == {KEY: Completion(late, '{"label":"red"}')}


def test_of_two_late_answers_in_one_commit_one_is_the_answer(house: House, prompt: Prompt) -> None:
    late, taken = _lose(house, prompt)
    _close(house, _accepted(late, '{"label":"red"}'), _accepted(taken, '{"label":"blue"}'))
    assert _find(house) == {KEY: Completion(taken, '{"label":"blue"}')}
