from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from overnight.llm.statuses import find_retry_after_s
from overnight.taxonomy import FailureClass
from tests.fakes.provider import Scripted

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def error(status: int, message: str = "No.", **fields) -> Scripted:
    return Scripted(status=status, body={"type": "error", "error": {"message": message, **fields}})


@pytest.mark.parametrize(
    ("response", "failure_class"),
    [
        (error(401, type="authentication_error"), FailureClass.AUTH),
        (error(403, type="permission_error"), FailureClass.AUTH),
        (error(404, type="not_found_error"), FailureClass.AUTH),
        (error(405), FailureClass.AUTH),
        (Scripted(status=302, body="", headers={"location": "http://127.0.0.1:1/"}), FailureClass.AUTH),
        (error(402, type="billing_error"), FailureClass.SPEND_LIMIT),
        (error(429, code="insufficient_quota"), FailureClass.SPEND_LIMIT),
        (error(429, details={"error_code": "enforced_spend_limit_reached"}), FailureClass.SPEND_LIMIT),
        (error(400, "Your credit balance is too low to use the API"), FailureClass.SPEND_LIMIT),
        (error(413, type="request_too_large"), FailureClass.TOO_LARGE),
        (error(400, code="context_length_exceeded"), FailureClass.TOO_LARGE),
        (error(400, code=400, type="exceed_context_size_error"), FailureClass.TOO_LARGE),
        (error(400, "prompt is too long: 210000 tokens > 200000 maximum"), FailureClass.TOO_LARGE),
        (error(400, type="invalid_request_error"), FailureClass.BAD_REQUEST),
        (error(422), FailureClass.BAD_REQUEST),
        (error(418), FailureClass.BAD_REQUEST),
        (error(408), FailureClass.OVERLOAD),
        (error(409), FailureClass.OVERLOAD),
        (error(500, type="api_error"), FailureClass.OVERLOAD),
        (error(504, type="timeout_error"), FailureClass.OVERLOAD),
        (error(529, type="overloaded_error"), FailureClass.OVERLOAD),
        (Scripted(status=502, body="<html>\nBad gateway</html>"), FailureClass.OVERLOAD),
        (Scripted(status=202, body="{}"), FailureClass.OVERLOAD),
        (error(429, type="rate_limit_error"), FailureClass.RATE_LIMIT),
        (Scripted(body="<html>"), FailureClass.OVERLOAD),
        (Scripted(body="[" * 100_000), FailureClass.OVERLOAD),
        (Scripted(body=b"\xff\xfe"), FailureClass.OVERLOAD),
        (Scripted(body={"error": {"message": "in a 200"}}), FailureClass.OVERLOAD),
        (Scripted(body={"choices": []}), FailureClass.OVERLOAD),
        (Scripted(body={"choices": [{"message": {"content": 3}}]}), FailureClass.OVERLOAD),
        (Scripted(body={"type": "message", "content": "text"}), FailureClass.OVERLOAD),
    ],
)
def test_each_status_is_named_for_what_the_caller_must_do(asker, response, failure_class):
    asker.fake.answer = lambda _: response
    failed = asker.fail()
    assert failed.failure_class is failure_class
    assert failed.reply is not None
    assert failed.reply.status == response.status
    assert len(asker.fake.calls) == 1
    if isinstance(response.body, str):
        assert failed.reply.body == response.body.encode()


def test_the_message_says_who_said_what_and_what_to_do(asker):
    asker.fake.answer = lambda _: error(404, "model\nnot found")
    message = str(asker.fail())
    assert message.startswith(f"{asker.model} (127.0.0.1:{asker.fake.port}) answered 404: model not found. Check")


def test_a_rate_limit_carries_the_wait(asker):
    asker.fake.answer = lambda _: Scripted(status=429, body="{}", headers={"retry-after": "7"})
    failed = asker.fail()
    assert failed.retry_after_s == 7.0
    assert failed.reply.headers["retry-after"] == "7"


def test_a_failure_that_is_not_sent_again_carries_no_wait(asker):
    asker.fake.answer = lambda _: Scripted(status=401, body="{}", headers={"retry-after": "7"})
    assert asker.fail().retry_after_s is None


def test_x_should_retry_false_takes_the_wait_away_and_is_said(asker):
    headers = {"retry-after": "7", "x-should-retry": "false"}
    asker.fake.answer = lambda _: Scripted(status=503, body="{}", headers=headers)
    failed = asker.fail()
    assert failed.retry_after_s is None
    assert "not to send it again" in str(failed)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "a while"}, None),
        ({"retry-after": format_datetime(NOW.replace(minute=1), usegmt=True)}, 60.0),
        ({"retry-after": "Sun, 01 Mar 2026 03:00:30 -0000"}, 30.0),
        ({"retry-after": format_datetime(NOW.replace(hour=1), usegmt=True)}, None),
        ({"retry-after": "Mon, 99 Foo 2026 99:99:99 GMT"}, None),
    ],
)
def test_the_wait_is_read_in_order_and_nonsense_is_ignored(headers, wait_s):
    assert find_retry_after_s(headers, NOW) == wait_s
