from __future__ import annotations

import json
import random
import string
import time

import pytest

from overnight.masking import MASK, Mask, Veil, mask_secrets, read_private
from overnight.records import Reply

DICE = random.Random(7)  # noqa: S311 - they only look like secrets


def _any(n: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(DICE.choices(letters, k=n))


SECRETS = {
    "openai": f"sk-proj-{_any(40)}",
    "openai-old": f"sk-{_any(48)}",
    "openai-service": f"sk-svcacct-{_any(20)}_{_any(30)}-{_any(20)}",
    "deepseek": f"sk-{_any(32, '0123456789abcdef')}",
    "openrouter": f"sk-or-v1-{_any(64, '0123456789abcdef')}",
    "anthropic": f"sk-ant-api03-{_any(80)}",
    "google": f"AIza{_any(35)}",
    "aws": f"AKIA{_any(16, string.ascii_uppercase + string.digits)}",
    "github": f"ghp_{_any(36)}",
    "github-fine": f"github_pat_{_any(60)}",
    "gitlab": f"glpat-{_any(20)}",
    "slack": "xoxb-" + "1234567890-abcdefghij",
    "stripe": "sk_live_" + _any(24),
    "hugging-face": f"hf_{_any(34)}",
    "pypi": f"pypi-{_any(80)}",
    "token": f"eyJ{_any(20)}.eyJ{_any(30)}.{_any(40)}",
    "private-key": f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{_any(64)}\n{_any(20)}==\n"
    "-----END RSA PRIVATE KEY-----",
    "cut-off-key": f"-----BEGIN PRIVATE KEY-----\n{_any(64)}\n{_any(30)}",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_removed_and_nothing_else(secret: str) -> None:
    assert mask_secrets(f"It was\n{secret}") == f"It was\n{MASK}"
    assert mask_secrets(f"({secret}) they wrote") == f"({MASK}) they wrote"


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_secret_in_json_is_removed_and_the_rest_stays_json(secret: str, is_ascii: bool) -> None:
    for text in (f'é\n{secret}"\\ they said', f"\t{secret}", f"<{secret}>\\"):
        masked = json.loads(mask_secrets(json.dumps({"a": text, "b": 1}, ensure_ascii=is_ascii)))
        assert masked == {"a": text.replace(secret, MASK), "b": 1}


@pytest.mark.parametrize(
    "text",
    [
        "A task-force and a risk-free sk-short.",
        "https://shop.sk/sk-produkty-a-sluzby-pre-domacnosti",
        "https://example.org/sk/sk-SK_hlavna_stranka_o_nas_2024?from=sk-admin-panel-nastavenia-uctu-2024",
        "sk-or-sa-nova-stranka-nasho-obchodu-v-bratislave and sk-proj-ekt-rekonstrukcie-domu-2",
        "sk-najneobhospodarovavatelnejsimi and sk-Zahradkarske-potreby-2024-v-akcii",
        "https://example.org/blog/a-long-slug-that-says-what-it-is-about",
        "AKIA is a prefix, AIza too, eyJ as well; hf_ and ghp_ are others.",
        "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
        "d41d8cd98f00b204e9800998ecf8427e and 7c9e6679-7425-40de-944b-e07fc1f90ae7",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert mask_secrets(text) == text


def test_texts_made_to_keep_the_pattern_busy_do_not() -> None:
    started = time.process_time()
    for hostile in (
        "-eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN A",
        "sk-",
        "sk-ant-",
        "sk-or-v1-a",
        "eyJaaaaaaaaaa.",
        "xoxb-",
    ):
        mask_secrets(hostile * 20_000)
    assert time.process_time() - started < 2


def test_the_process_s_own_keys_are_removed_whatever_their_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "no known form")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "ollama")
    mask = Mask("given too")
    assert mask.hide("no known form, given too, ollama") == f"{MASK}, {MASK}, ollama"


def test_a_body_without_secrets_stays_byte_for_byte() -> None:
    data = b'{"a": "\xff\xfe not text", "b": "sk-no"}'
    assert Mask("another").hide_bytes(data) is data
    assert Mask("another").hide_bytes(b"\xff another") == b"\xff " + MASK.encode()


def test_every_text_of_a_reply_is_looked_at() -> None:
    secret = SECRETS["openai"]
    reply = Reply(200, b"", text=f"a {secret}", reasoning=secret, refusal=None, stop_reason="stop")
    assert Mask().hide_fields(reply) == Reply(200, b"", text=f"a {MASK}", reasoning=MASK, stop_reason="stop")


ADA = {"email": "ada@example.org", "body": "Write to ada@example.org", "age": 7}


def test_a_private_value_is_hidden_in_its_field_and_in_every_text() -> None:
    veil = Veil(("email", "age"), ADA, {"email": "Ada@Home", "note": "ada@example.org or Ada@Home, aged 7"})
    assert veil.hide_input(ADA) == {
        "email": "[private: email]",
        "body": "Write to [private: email]",
        "age": "[private: age]",
    }
    assert veil.hide_output({"email": "Ada@Home", "note": "ada@example.org or Ada@Home, aged 7"}) == {
        "email": "[private: email of the answer]",
        "note": "[private: email] or [private: email of the answer], aged 7",
    }


def test_what_was_hidden_is_put_back_into_what_was_typed() -> None:
    veil = Veil(("email", "age"), ADA, {"email": "Ada@Home", "score": 3})
    typed = {"email": "[private: email of the answer]", "to": ["so: [private: email]"], "age": "[private: age]"}
    assert veil.put_back(typed) == {"email": "Ada@Home", "to": ["so: ada@example.org"], "age": 7}


def test_a_value_within_another_is_hidden_with_it() -> None:
    veil = Veil(("name", "email"), {"name": "example", "email": "me@example.org"})
    assert veil.hide_text("me@example.org of example") == "[private: email] of [private: name]"


@pytest.mark.parametrize(
    ("given", "leaks"),
    [
        ({"address": {"street": "Hidden Lane 5", "tags": ["north gate"]}}, ["Hidden Lane 5", "north gate"]),
        ({"name": 'Ada "the first"'}, ['Ada "the first"']),
        ({"name": "Zoë Ünal"}, ["Zoë Ünal", "Zo\\u00eb \\u00dcnal"]),
        ({"name": "Ada Lovelace"}, ["ADA LOVELACE", "ada lovelace"]),
        ({"name": "Ada\n  Lovelace"}, ["Ada Lovelace"]),
    ],
)
def test_a_value_is_hidden_in_whatever_form_it_is_quoted(given: dict[str, object], leaks: list[str]) -> None:
    name = next(iter(given))
    veil = Veil((name,), given)
    quoted = [json.dumps(given), json.dumps(given, ensure_ascii=False), *leaks]
    hidden = " ".join(veil.hide_text(text) for text in quoted)
    assert [leak for leak in leaks if leak in hidden] == []


def test_a_value_that_a_line_cuts_short_is_hidden_as_far_as_it_goes() -> None:
    value = "She lives in the last house of Hidden Lane, by the north gate."
    assert Veil(("body",), {"body": value}).hide_text(f'body is "{value[:40]}…"') == 'body is "[private: body]…"'


LONG = "She wrote, on the first morning of that year, in a letter: " + " ".join(f"word {n} of it" for n in range(2000))


def test_a_long_value_is_hidden_in_any_case_and_spacing_whole_or_cut_short() -> None:
    veil = Veil(("body",), {"body": LONG})
    assert (
        veil.hide_text(f"<{LONG.upper()}> and <{LONG.replace(' ', '  ')}>") == "<[private: body]> and <[private: body]>"
    )
    assert veil.hide_text(f"<{LONG[:5000].lower()}… and so on") == "<[private: body]… and so on"
    assert veil.hide_text(f"{LONG[:900]}WORD {LONG[904:]}") == "[private: body]WORD " + LONG[904:]


def test_of_long_values_that_begin_alike_the_one_that_stands_there_is_hidden() -> None:
    values = {"a": LONG[:600].strip(), "b": f"{LONG[:100]} as of old, {LONG[100:200]}!", "c": f"{LONG[:300]}?"}
    veil = Veil(tuple(values), values)
    for name, value in values.items():
        assert veil.hide_text(f"<{value}>") == f"<[private: {name}]>"


def test_a_long_value_is_hidden_in_no_time() -> None:
    started = time.process_time()
    for n in range(100):
        assert Veil(("body",), {"body": f"{n} {LONG}"}).hide_text(f"It says: {n} {LONG}") == "It says: [private: body]"
    hidden = Veil(("body",), {"body": LONG}).hide_text(LONG[:90] * 1000)
    assert hidden == "[private: body]" * 1000
    assert time.process_time() - started < 2


def test_what_a_prompt_declares_private_is_read_from_its_text() -> None:
    assert read_private("---\nmodel: a:b\nprivate: [email, name]\n---\nHello") == ("email", "name")
    assert read_private("---\nmodel: a:b\n---\nprivate: [x]") == ()
    assert read_private("no front matter") == ()
