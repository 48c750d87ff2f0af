"""Before anything is worked on: whose request it is, how often they come, how much and how slowly they send."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.unit.serve.conftest import Front

ROW = {"row": {"id": "r1", "body": "words"}}
HEAD = b"POST /v1/requests/sort HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
Serve = Callable[..., Front]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", "Basic YTpi", "Bearer \xff", "bearer ovn_" + "x" * 43]
)
def test_who_has_no_token_is_told_nothing(front: Front, ada: httpx.Client, header: str) -> None:
    with httpx.Client(base_url=front.url, headers=[(b"Authorization", header.encode("latin-1"))]) as stranger:
        for refused in (
            stranger.post("/v1/requests/sort", json=ROW),
            stranger.post("/v1/requests/no-such", json=ROW),
            stranger.get("/openapi.json"),
            stranger.get("/nowhere"),
        ):
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert "sort" not in refused.text
    assert front.house.fetch("SELECT count(*) FROM inbox") == [(0,)]


def test_health_needs_no_token_and_says_nothing_else(front: Front) -> None:
    answer = httpx.get(f"{front.url}/v1/health")
    assert (answer.status_code, answer.json(), "server" in answer.headers) == (200, {"status": "ok"}, False)


def test_no_page_is_served_that_loads_scripts(ada: httpx.Client) -> None:
    assert [ada.get(path).status_code for path in ("/docs", "/redoc", "/docs/oauth2-redirect")] == [404, 404, 404]


def test_a_token_whose_line_is_deleted_ends_at_once(front: Front, ada: httpx.Client) -> None:
    assert ada.get("/openapi.json").status_code == 200
    front.tokens.write_text("")
    assert ada.get("/openapi.json").status_code == 401


def test_a_file_of_tokens_that_others_can_open_lets_nobody_in(front: Front, ada: httpx.Client) -> None:
    front.tokens.chmod(0o640)
    refused = ada.get("/openapi.json")
    assert (refused.status_code, str(front.tokens) in refused.text) == (503, False)
    front.tokens.chmod(0o600)
    assert ada.get("/openapi.json").status_code == 200


def test_one_client_that_asks_too_often_is_put_off_and_another_is_not(serve: Serve) -> None:
    front = serve(rate="2/hour")
    with front.admit("ada") as ada, front.admit("bob") as bob:
        answers = [ada.post("/v1/requests/sort", json=ROW) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert 3500 < int(answers[2].headers["retry-after"]) <= 3601
        assert bob.post("/v1/requests/sort", json=ROW).status_code == 202


@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_beyond_the_limit_is_refused_before_it_has_all_come(serve: Serve, is_chunked: bool) -> None:
    front, sent = serve(most_bytes=1000), 0

    def send() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 10_000
            yield b"x" * 10_000

    headers = {"content-type": "application/json"} | ({} if is_chunked else {"content-length": "1000000"})
    with front.admit("ada") as ada:
        refused = ada.post("/v1/requests/sort", content=send(), headers=headers)
        assert (refused.status_code, refused.headers["connection"]) == (413, "close")
        assert "more than 1,000 bytes" in refused.json()["detail"]
        # At the limit itself it is read, and taken.
        padded = b'{"row":{"id":"r1","body":"words"}}'.ljust(1000)
        fits = ada.post("/v1/requests/sort", content=iter([padded]), headers={"content-type": "application/json"})
        assert fits.status_code == 202


def test_a_body_that_does_not_end_is_answered_while_it_still_comes(serve: Serve) -> None:
    front = serve(most_bytes=1000)
    with front.admit("ada") as ada, socket.create_connection(front.address, 10) as slow:
        token = ada.headers["authorization"].encode()
        slow.sendall(HEAD + b"Authorization: " + token + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        slow.sendall(b"800\r\n" + b"x" * 2048 + b"\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_that_is_too_slow_is_refused_and_others_are_answered_meanwhile(serve: Serve) -> None:
    front = serve(body_s=0.3)
    with front.admit("ada") as ada, socket.create_connection(front.address, 10) as slow:
        token = ada.headers["authorization"].encode()
        slow.sendall(HEAD + b"Authorization: " + token + b"\r\nContent-Length: 50\r\n\r\n{")
        assert ada.post("/v1/requests/sort", json=ROW).status_code == 202
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("begun", [b"", b"POST /v1/requests/so"])
def test_a_connection_whose_request_does_not_begin_is_closed(serve: Serve, begun: bytes) -> None:
    front = serve(head_s=0.2)
    with socket.create_connection(front.address, 10) as slow:
        slow.sendall(begun)
        assert slow.recv(100) == b""
    assert httpx.get(f"{front.url}/v1/health").status_code == 200


def test_beyond_so_many_at_once_the_next_is_put_off(serve: Serve) -> None:
    front = serve(most_at_once=1, body_s=5.0)
    with front.admit("ada") as ada, socket.create_connection(front.address, 10) as slow:
        token = ada.headers["authorization"].encode()
        body = b'{"row":{"id":"r1","body":"words"}}'
        slow.sendall(HEAD + b"Authorization: " + token + b"\r\nContent-Length: %d\r\n" % len(body))
        slow.sendall(b"Expect: 100-continue\r\n\r\n")
        # It is read from now on.
        assert slow.recv(100).startswith(b"HTTP/1.1 100")
        put_off = ada.post("/v1/requests/sort", json=ROW)
        assert (put_off.status_code, "retry-after" in put_off.headers) == (503, True)
        slow.sendall(body)
        assert slow.recv(100).startswith(b"HTTP/1.1 202")
        assert ada.get("/openapi.json").status_code == 200


def test_an_answer_is_kept_in_no_cache(ada: httpx.Client) -> None:
    for answer in (ada.post("/v1/requests/sort", json=ROW), ada.get("/nowhere")):
        assert answer.headers["cache-control"] == "no-store"
