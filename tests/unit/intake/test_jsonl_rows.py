import json
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overnight.failures import InputRefused
from overnight.intake import jsonl_rows, read_batches
from overnight.intake.json_lines import UnfitLine, parse_line
from overnight.parts import read_part

GOOD = b'{"id":"1","text":"a"}\n'


def test_values_keep_their_types_and_names_come_in_any_order(intake):
    lines = b'{"text": {"a": [1, 1.0, null, true]}, "id": 7}\n\n  \n{"id":"x","extra":0,"text":"\\u00e9 \\u003a b\\nc"}'
    rows = intake.read(intake.write(b"\xef\xbb\xbf" + lines, "rows.NDJSON"))
    assert [(r["row_id"], r["row_number"], r["state"]) for r in rows] == [("7", 1, "pending"), ("x", 2, "pending")]
    assert repr(rows[0]["input"]["text"]) == "{'a': [1, 1.0, None, True]}"
    assert rows[1]["input"] == {"text": "é : b\nc"}


def test_the_same_row_has_the_same_input_as_in_csv(intake):
    one = intake.read(intake.write("id,text\n1,a\n"), optional_inputs=("more",))
    assert intake.read(intake.write(GOOD, "rows.jsonl"), optional_inputs=("more",)) == one


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("[123456789012345678901234567890]", ["123456789012345678901234567890"]),
        ("1234567890123456789.0", 1234567890123456789.0),
        ("1.0", 1.0),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_a_number_keeps_its_value(intake, text, value):
    [row] = intake.read(intake.write(f'{{"id":"1","text":{text}}}', "rows.jsonl"))
    assert (row["input"]["text"], type(row["input"]["text"])) == (value, type(value))


@pytest.mark.parametrize(
    ("line", "failure_class", "reason"),
    [
        (b'{"id":"2","text":"caf\xe9"}', "undecodable", "Row 2 holds byte 0xe9, which is not UTF-8"),
        (b'{"id":"2","text":"a\0b"}', "undecodable", "byte 0x00 (NUL)"),
        (b'{"id":"2","text":"a\\u0000b"}', "undecodable", "\\u0000 (NUL)"),
        (b'{"id":"2","text":"\\ud800"}', "undecodable", "\\ud800, half of a pair of surrogates"),
        (b'{"id":"2","text":"\xed\xa0\x80"}', "undecodable", "byte 0xed"),
        (b'{"id":"2","text":NaN}', "undecodable", "holds NaN"),
        (b'{"id":"2","text":-Infinity}', "undecodable", "holds -Infinity"),
        (b'{"id":"2","text":1e999}', "undecodable", "holds the number 1e999"),
        (b'{"id":"2","text":"a"', "undecodable", "is not JSON (Expecting ',' delimiter at its character"),
        (b'{"id":"2","text":"a"} {"id":"3"}', "undecodable", "is not JSON (Extra data"),
        (b'{"id":"2","text":' + b"[" * 300 + b"]" * 300 + b"}", "undecodable", "nested too deeply"),
        (b'{"id":"2","text":' + b"[" * 100_000, "undecodable", "nested too deeply"),
        (b'["2","a"]', "ragged_row", "is a JSON array and no object"),
        (b"17", "ragged_row", "is a JSON number and no object"),
        (b'{"id":"2","text":"a","text":"b"}', "ragged_row", "has 'text' twice"),
        (b'{"id":"2","text":{"x":"\\u003a","x":1}}', "ragged_row", "has 'x' twice"),
        (b'{"id":["2"],"text":"a"}', "empty_id", "has a list as its id"),
        (b'{"text":"a"}', "empty_id", "Row 2 has no id in column 'id'"),
        (b'{"id":"1","text":"a"}', "duplicate_id", "which row 1 has already"),
        (b'{"id":"2"}', "missing_value", "Row 2 has no value in 'text'"),
        (b'{"id":"2","text":null}', "missing_value", "Row 2 has no value in 'text'"),
    ],
)
def test_a_line_that_cannot_be_asked_is_quarantined_with_its_reason(intake, line, failure_class, reason):
    good, bad, after = intake.read(intake.write(GOOD + line + b'\n{"id":"3","text":"c"}', "rows.jsonl"))
    assert (good["state"], after["state"], after["row_number"]) == ("pending", "pending", 3)
    assert (bad["state"], bad["failure_class"]) == ("quarantined", failure_class)
    assert reason in bad["reason"]
    assert "\n" not in bad["reason"]


def test_the_rest_of_a_line_that_is_too_long_is_passed_over(intake, monkeypatch):
    monkeypatch.setattr(jsonl_rows, "MOST_BYTES", 100)
    rows = intake.read(intake.write(GOOD + b"x" * 500 + b"\n" + b'{"id":"3","text":"c"}\n' + b"y" * 101, "rows.jsonl"))
    assert [row["failure_class"] for row in rows] == [None, "too_large", None, "too_large"]
    assert "Row 2 has more than 100 bytes" in rows[1]["reason"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"\n \n", "has no rows"),
        (b'{"id":1,"words":"a"}\n' * 200, r"in its first 100 rows, has no column 'text'.*it has 'id', 'words'"),
        (GOOD.decode().encode("utf-16"), "is UTF-16"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused_on_one_line(intake, data, why):
    with pytest.raises(InputRefused, match=why) as caught:
        intake.read(intake.write(data, "rows.jsonl"))
    assert "\n" not in str(caught.value)


def test_a_column_may_come_late_among_the_first_rows(intake):
    rows = intake.read(intake.write(b'{"id":1}\n' + b"nonsense\n" + b'{"id":3,"text":"a"}', "rows.jsonl"))
    assert [row["failure_class"] for row in rows] == ["missing_value", "undecodable", None]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), st.booleans())
@example({"a": ":\\u003a", ":": 2**64}, True)
def test_an_object_is_read_as_json_reads_it_or_refused(value, ascii_):
    line = json.dumps(value, ensure_ascii=ascii_).encode(errors="surrogatepass")
    try:
        read = parse_line(line)
    except UnfitLine:
        assert "\\u0000" in json.dumps(value) or "\\ud" in json.dumps(value)
        return
    wanted = json.loads(line, parse_int=lambda d: int(d) if -(2**63) <= int(d) < 2**64 else d)
    assert read == wanted
    assert orjson.dumps(read)


@given(st.lists(st.sampled_from([b'{"id":"1","text":"a"}', b'{"id":2}', b"", b" ", b"{", b"[]", b"\xff", b"\0", b'"'])))
def test_every_line_of_any_bytes_is_in_one_part_or_the_file_is_refused(lines):
    n_expected = sum(1 for line in lines if line.strip())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(b"\n".join(lines))
        options = {"id_column": "id", "inputs": ("text",), "optional_inputs": (), "place": Path(folder)}
        try:
            rows = [r for b in read_batches(str(path), **options) for r in read_part(b.part, Path(folder)).to_pylist()]
        except InputRefused:
            assert n_expected == 0 or b'{"id":"1","text":"a"}' not in lines
            return
    assert [row["row_number"] for row in rows] == list(range(1, n_expected + 1))
