from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest

from overnight.llm import make_validator
from tests.fakes.instances import make_instance

SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b", "c"]},
        "evidence": {"type": "string", "minLength": 3, "maxLength": 12},
        "score": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.7},
        "n": {"type": ["integer", "null"], "minimum": 3, "multipleOf": 2},
        "sure": {"type": "boolean"},
        "none": {"type": "null"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 2},
        "either": {"anyOf": [{"const": 7}, {"type": "string"}]},
    },
    "$defs": {"part": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
    "required": ["kind", "evidence", "score", "n", "sure", "none", "parts", "either"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("text", ["", "x", "<ticket>My card\nwas stolen</ticket>", "<query></query>"])
def test_the_least_instance_fits_its_schema_and_stays_the_same(text):
    instance = make_instance(SCHEMA, text)
    assert make_validator(json.dumps(SCHEMA)).find_errors(instance) == []
    assert make_instance(SCHEMA, text) == instance


def test_texts_are_the_first_words_between_the_last_tags():
    text = "<query>an example</query> Now: <query>\n Where is my new card today? </query> Answer."
    assert make_instance({"type": "string"}, text) == "Where is my new card"


def test_enums_follow_the_text():
    assert {make_instance({"enum": [1, 2, 3]}, f"row {n}") for n in range(30)} == {1, 2, 3}


def test_it_runs_as_a_command_and_logs_each_call(tmp_path):
    log = tmp_path / "calls.jsonl"
    command = [sys.executable, "-m", "tests.fakes.provider", "--port", "0", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            body = {"model": "m", "messages": [{"role": "user", "content": "Hello there"}]}
            request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
                assert json.loads(response.read())["model"] == "m"
        finally:
            process.terminate()
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["body"] == body
    assert json.loads(line)["path"] == "/v1/chat/completions"
