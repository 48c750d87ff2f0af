from __future__ import annotations

import re

import httpx
import pytest

from tests.unit.page.conftest import TOKEN, Browser, open_client


@pytest.fixture
def stranger(browser: Browser) -> httpx.Client:
    """A browser that was not given the address."""
    return open_client(browser.url)


def test_the_address_opens_the_page_once_and_a_cookie_keeps_it_open(browser: Browser, stranger: httpx.Client) -> None:
    with stranger:
        opened = stranger.get(f"/?token={TOKEN}")
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"]
        assert cookie.startswith(f"overnight-{browser.port}=")
        assert re.search(r"HttpOnly; Path=/; SameSite=strict$", cookie)
        assert stranger.get("/").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/item/1", "/decision", "/static/keys.js", "/?token=wrong", "/?token=", "/?token=%FF"]
)
def test_without_the_token_nothing_is_shown(stranger: httpx.Client, path: str) -> None:
    with stranger:
        answer = stranger.get(path)
        assert answer.status_code == 403
        assert "overnight review --web" in answer.text


def test_a_wrong_cookie_opens_nothing(browser: Browser, stranger: httpx.Client) -> None:
    with stranger:
        stranger.cookies.set(f"overnight-{browser.port}", "guess")
        assert stranger.get("/").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_it_answers_to_its_own_name_alone(browser: Browser, host: str) -> None:
    assert browser.client.get("/", headers={"host": host.format(port=browser.port)}).status_code == 403


def test_it_answers_to_localhost_too(browser: Browser, stranger: httpx.Client) -> None:
    with stranger:
        host = f"localhost:{browser.port}"
        assert stranger.get(f"/?token={TOKEN}", headers={"host": host}).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:{port}", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_form_of_another_page_is_refused(browser: Browser, headers: dict[str, str]) -> None:
    sent = {name: value.format(port=browser.port) for name, value in headers.items()}
    answer = browser.client.post("/item/1", data={"round": "0", "verdict": "correct"}, headers=sent)
    assert answer.status_code == 403
    assert browser.review.reading.verdicts == {}


def test_a_form_of_this_page_is_taken(browser: Browser) -> None:
    headers = {"origin": browser.url, "sec-fetch-site": "same-origin"}
    browser.client.post("/item/1", data={"round": "0", "verdict": "correct"}, headers=headers)
    assert browser.review.reading.name(1) == "correct"


@pytest.mark.parametrize("path", ["/", "/item/1", "/static/style.css", "/nowhere"])
def test_every_answer_carries_the_security_headers(browser: Browser, stranger: httpx.Client, path: str) -> None:
    with stranger:
        for answer in (browser.client.get(path), stranger.get(path)):
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';")
            assert "form-action 'self'; base-uri 'none'; frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"


def test_nothing_on_a_page_is_fetched_from_elsewhere(browser: Browser) -> None:
    for path in ("/", "/item/1", "/item/1/edit", "/decision", "/static/style.css", "/static/keys.js"):
        assert not re.search(r"(?:src|href|action|url)\s*[=(]\s*[\"']?(?:https?:)?//", browser.get(path)), path


def test_no_style_and_no_script_stands_in_a_page(browser: Browser) -> None:
    for path in ("/", "/item/1", "/item/1/edit", "/decision"):
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", browser.get(path)), path
