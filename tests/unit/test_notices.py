"""Notices as they arrive at a web server on loopback, and what is said where they do not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.failures import OvernightError
from overnight.notices import Notice, refuse_malformed, tell_people
from tests.fakes.people import People

ROOT = Path(__file__).parents[2]
NOTICE = Notice("waiting", "Run night-1 waits for a person", ("One line.", "Another\n\n  line, <b>plain</b>."))
#: Nothing listens there.
NOWHERE = "json://ada:pass-word@127.0.0.1:9/secret-path?+X-Token=tok-en"
SECRETS = ("ada", "pass-word", "secret-path", "tok-en", "127.0.0.1")


@pytest.fixture
def people() -> Iterator[People]:
    with People() as people:
        yield people


def _hides_secrets(line: str) -> bool:
    return "\n" not in line and not [secret for secret in SECRETS if secret in line]


def test_a_notice_arrives_as_plain_text(people: People) -> None:
    told = tell_people(NOTICE, [people.url])
    assert (told.n_reached, told.warnings) == (1, ())
    [arrived] = people.notices
    assert (arrived["title"], arrived["type"]) == (NOTICE.title, "info")
    assert arrived["message"] == "One line.\nAnother line, <b>plain</b>."


@pytest.mark.parametrize(("kind", "shown"), [("soon", "warning"), ("over", "failure"), ("halted", "failure")])
def test_its_kind_decides_how_a_service_shows_it(people: People, kind: str, shown: str) -> None:
    tell_people(Notice(kind, "Title", ("Line",)), [people.url])
    assert people.notices[0]["type"] == shown


def test_without_an_address_nobody_is_told() -> None:
    assert tell_people(NOTICE, []).n_reached == 0


def test_a_service_that_is_not_reached_is_one_line_without_secrets_and_the_others_are_told(people: People) -> None:
    told = tell_people(NOTICE, [NOWHERE, people.url])
    assert (told.n_reached, people.titles) == (1, [NOTICE.title])
    [line] = told.warnings
    assert "was not delivered to address 1 of OVERNIGHT_NOTIFY (json://…): it was refused, or" in line
    assert _hides_secrets(line)


def test_a_service_that_refuses_it_is_a_warning_too(people: People) -> None:
    people.status = 401
    told = tell_people(NOTICE, [people.url])
    assert told.n_reached == 0
    assert _hides_secrets(told.warnings[0])


def test_a_service_that_does_not_answer_is_waited_for_no_longer_than_the_limit(people: People) -> None:
    people.answers.clear()
    began = time.monotonic()
    told = tell_people(NOTICE, [people.url, people.url], patience_s=0.3)
    assert time.monotonic() - began < 2.0
    assert [": not within 0.3 s." in line for line in told.warnings] == [True, True]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("slack://tok-en/secret-path", "(slack://…)"),
        ("carrier-pigeon://tok-en/secret-path", "(carrier-pigeon://…)"),
        ("tok-en secret-path", "OVERNIGHT_NOTIFY is"),
        ("json://", "(json://…)"),
    ],
)
def test_a_malformed_url_is_refused_by_its_place_and_its_scheme_alone(people: People, url: str, shown: str) -> None:
    with pytest.raises(OvernightError, match=r"The address 2 of OVERNIGHT_NOTIFY") as refused:
        refuse_malformed([people.url, url])
    assert shown in str(refused.value)
    assert _hides_secrets(str(refused.value))


def test_a_malformed_url_does_not_keep_the_others_from_being_told(people: People) -> None:
    told = tell_people(NOTICE, ["slack://tok-en/secret-path", people.url])
    assert (told.n_reached, len(told.warnings)) == (1, 1)
    assert _hides_secrets(told.warnings[0])


@pytest.mark.parametrize(("allowed", "n_reached"), [("127.0.0.1", 1), ("crm.example", 0)])
def test_the_host_of_a_service_is_to_be_declared_where_hosts_are(people: People, allowed: str, n_reached: int) -> None:
    # In a process of its own: an audit hook cannot be taken away.
    script = (
        "from overnight.notices import Notice, tell_people; from overnight.only_hosts import install;"
        f"install([{allowed!r}]); told = tell_people(Notice('over', 'T', ('L',)), [{people.url!r}]);"
        "print(told.n_reached, *told.warnings)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(n_reached))
    assert len(people.notices) == n_reached
    assert ("OVERNIGHT_ONLY_HOSTS" in done.stdout) == (n_reached == 0)
    assert done.stderr == ""
    assert _hides_secrets(done.stdout.strip())
