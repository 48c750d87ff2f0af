import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import SinkRefused
from overnight.keys import delivery_key, digest_bytes
from overnight.payloads import kind_of, make_payload, sink_name

SINK = "file:data/out/rows.jsonl"
ROW = {"row_id": "1", "output": {"b": 2, "a": "é"}, "request_key": "k", "prompt_hash": "h", "model": "local:tiny"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_the_body_is_canonical_json_with_the_output_flat_beside_its_origin():
    payload = make_payload(ROW, sink=SINK)
    assert payload.body == (
        '{"a":"é","b":2,"model":"local:tiny","prompt_hash":"h","request_key":"k","row_id":"1"}'.encode()
    )
    assert payload.digest == digest_bytes(payload.body)
    assert payload.delivery_key == delivery_key(SINK, "1", payload.digest)


@given(st.dictionaries(st.text(), JSON))
def test_a_payload_ignores_the_order_of_fields_and_is_one_line(output):
    turned = dict(reversed(output.items()))
    payload = make_payload({**ROW, "output": output}, sink=SINK)
    assert payload == make_payload({**ROW, "output": turned}, sink=SINK)
    assert b"\n" not in payload.body
    assert json.loads(payload.body) == {**output, **{k: ROW[k] for k in ROW if k != "output"}}


def test_formulas_stay_as_they_are_in_json():
    payload = make_payload({**ROW, "output": {"a": "=HYPERLINK(1)"}}, sink=SINK)
    assert json.loads(payload.body)["a"] == "=HYPERLINK(1)"


def test_two_ways_to_write_a_sink_give_one_key():
    one = make_payload(ROW, sink="https://Example.com:443")
    assert one.delivery_key == make_payload(ROW, sink="https://example.com/").delivery_key
    assert one.delivery_key != make_payload(ROW, sink="https://example.com/in").delivery_key


@pytest.mark.parametrize(
    ("sink", "kind"), [("file:a.jsonl", "file"), ("http://a/", "http"), ("https://a/", "http"), ("HTTPS://a/", "http")]
)
def test_the_address_tells_the_kind(sink, kind):
    assert kind_of(sink) == kind


@pytest.mark.parametrize("sink", ["", "rows.jsonl", "ftp://a/", "s3://a/b", "httpx://a/"])
def test_an_unknown_kind_is_refused_with_those_that_exist(sink):
    with pytest.raises(SinkRefused, match="file:PATH, http"):
        kind_of(sink)


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        ("file:data/./out//rows.jsonl", "file:data/out/rows.jsonl"),
        ("file:/tmp/rows.parquet", "file:/tmp/rows.parquet"),
        ("file:///tmp/my%20rows.jsonl", "file:/tmp/my rows.jsonl"),
        ("HTTP://Example.com:80", "http://example.com/"),
        ("http://example.com:8080/In?b=1", "http://example.com:8080/In?b=1"),
        ("http://[::1]:8080/in", "http://[::1]:8080/in"),
    ],
)
def test_an_address_has_one_name_which_names_itself(sink, name):
    assert sink_name(sink) == name
    assert sink_name(name) == name


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        ("file:", "names no file"),
        ("file:data/out/..", "suffix"),
        ("file:a\0.jsonl", "names no file"),
        ("file:rows.xlsx", "suffix"),
        ("file://host/rows.jsonl", "names a host"),
        ("http:///in", "names no host"),
        ("https://exämple.com/", "names no host"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://example.com/#part", "fragment"),
        ("http://example.com/a b", "white space"),
        ("http://example.com/\n", "white space"),
        ("http://example.com:port/", "not an address"),
        ("http://[::1/", "not an address"),
    ],
)
def test_an_incomplete_or_loaded_address_is_refused(sink, why):
    with pytest.raises(SinkRefused, match=why) as caught:
        sink_name(sink)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
