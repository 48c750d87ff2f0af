import json

from hypothesis import given
from hypothesis import strategies as st

from overnight.keys import delivery_key, digest_bytes
from overnight.payloads import make_payload

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
