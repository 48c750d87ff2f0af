"""The only hashing: every key and digest of the project is made here."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import orjson

#: Part of every request key: a parser that reads the same answer differently asks anew.
PARSER_VERSION = "1"

#: The front matter of a prompt.md, and what looks like a line of it that says how rows are asked, not what.
_FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
_MANNER = re.compile(r"^(?:mode|by)[ \t]*:.*\n", re.MULTILINE)


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys: equal values give equal bytes whatever the order of their fields."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def digest_bytes(data: bytes) -> str:
    """SHA-256 of the bytes, hex."""
    return hashlib.sha256(data).hexdigest()


def digest_parts(domain: str, parts: Iterable[bytes | str]) -> str:
    """SHA-256 over length-prefixed parts, hex: no two lists of parts share their bytes."""
    h = hashlib.sha256()
    for part in (domain, *parts):
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "big"))
        h.update(data)
    return h.hexdigest()


def prompt_hash(*, text: str, schema: str, model: str, endpoint: str, parameters: Mapping[str, Any]) -> str:
    """
    What decides an answer besides the row; the checks have a hash of their own.

    How the prompt is asked decides none: an answer out of a provider batch is the next night's online hit, and an
    online one a batch's.
    """
    text = leave_out_manner(text)
    return digest_parts("prompt", [text, schema, model, endpoint, canonical_json(dict(parameters)), PARSER_VERSION])


def leave_out_manner(text: str) -> str:
    """A prompt.md without the lines of its front matter, `mode` and `by`, that say how and by when rows are asked."""
    front = _FRONT_MATTER.match(text)
    lines = list(_MANNER.finditer(front[1])) if front else []
    if front is None or not lines:
        return text
    keys = _find_keys(front[1])
    # From the end: what stands before a line that is cut stays where it is.
    for line in reversed(lines):
        # What looks like one may stand in a quoted text, or go on in the next line.
        if keys.get(line.start(), line.end()) < line.end():
            start = front.start(1)
            text = text[: start + line.start()] + text[start + line.end() :]
    return text


def _find_keys(front_matter: str) -> dict[int, int]:
    """Where each field of the front matter begins, and where its value ends."""
    import yaml  # noqa: PLC0415 - few prompts say how they are asked, and commands start faster without it

    try:
        root = yaml.compose(front_matter, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        # It is no prompt's: those were read before anything is hashed.
        return {}
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return {}
    return {key.start_mark.index: value.end_mark.index for key, value in root.value}


def checks_hash(checks: str, code: str = "") -> str:
    """SHA-256 over the text of checks.json, and of checks.py where there is one, hex."""
    return digest_parts("checks", [checks, code] if code else [checks])


def request_key(input_json: bytes | str, prompt_hash: str) -> str:
    """The key of a request: `input_json` is the row's canonical JSON, without its id."""
    return digest_parts("request", [input_json, prompt_hash])


def inbox_key(prompt: str, row_id: str, input_json: bytes | str) -> str:
    """
    The key of a request from outside, hex.

    It is over the prompt's name, and the row as it was sent: a prompt may change while the request waits.
    """
    return digest_parts("inbox", [prompt, row_id, input_json])


def answer_digest(key: str, output: str, model: str | None = None) -> str:
    """
    SHA-256 over a request's key, the answer kept for it, and the model where it is not the prompt's own, hex.

    A whole answer in another one's place is not it.
    """
    return digest_parts("answer", [key, output, model or ""])


def digest_output(output: str) -> str:
    """SHA-256 over an answer, given as JSON, whatever the order of its fields: what a reading speaks of, hex."""
    return digest_bytes(canonical_json(orjson.loads(output)))


def batch_digest(rows: Iterable[tuple[str, bytes | str]]) -> str:
    """SHA-256 over (row id, canonical input JSON) pairs, in order, hex."""
    return digest_parts("batch", (part for row in rows for part in row))


def release_digest(
    *, sink: str, prompt_hash: str, model: str, checks_digest: str, held_of: str, rows: Iterable[tuple[str, str, str]]
) -> str:
    """
    What is offered: over the sink, what made the answers, how they were checked, and each row's exact bytes, hex.

    Args:
        sink: Its name, which holds its configuration.
        prompt_hash: Of the prompt that the rows answer.
        model: The prompt's.
        checks_digest: Over the results of the checks.
        held_of: The release that it goes on from; empty where it stands alone.
        rows: The (request key, delivery key, payload digest) of each row, in order.
    """
    origin = [sink, prompt_hash, model, checks_digest, held_of]
    return digest_parts("release", [*origin, *(part for row in rows for part in row)])


def allowed_digest(rows: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the (delivery key, payload digest) of each row that may leave, in order, hex."""
    return digest_parts("allowed", (part for row in rows for part in row))


def sign(fields: Mapping[str, Any], key: bytes) -> str:
    """HMAC-SHA256 over the fields' canonical JSON, hex: who does not have the key cannot make it."""
    return hmac.new(key, b"approval" + canonical_json(dict(fields)), hashlib.sha256).hexdigest()


def reviewer_secret(name: str, nonce: str, key: bytes) -> bytes:
    """The 20 bytes that a reviewer's codes are made of: who does not have the key cannot make them."""
    return hmac.new(key, b"reviewer" + canonical_json([name, nonce]), hashlib.sha256).digest()[:20]


def key_mark(endpoint: str, api_key: str) -> str:
    """12 hex digits that are the same for the same key at the same address, and do not tell it."""
    return hmac.new(api_key.encode(), b"batch-key" + endpoint.encode(), hashlib.sha256).hexdigest()[:12]


def delivery_key(sink: str, row_id: str, payload_digest: str, follows: str | None = None) -> str:
    """
    The same row with the same bytes to the same sink has one key, on whatever night.

    Unless it goes back to them: then the key is over that of the version which stood there meanwhile too, hex.
    """
    return digest_parts("delivery", [sink, row_id, payload_digest, *([follows] if follows else [])])


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
