import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import SinkRefused
from overnight.payloads.bodies import write_body
from overnight.sinks.contract import Consignment
from overnight.sinks.errors import DeliveryFailed
from overnight.sinks.formats import format_rows, get_release_part, is_same_file, refuse_unfit

SUFFIXES = [".jsonl", ".csv", ".parquet"]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\0")


def make_bodies(*rows):
    return [json.dumps(row).encode() for row in rows]


def read_cells(data):
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_jsonl_holds_the_bodies_as_they_are():
    assert format_rows([b'{"b":1, "a":2}', b"{}"], ".jsonl", "x") == b'{"b":1, "a":2}\n{}\n'


def test_csv_has_a_column_for_every_field_in_the_order_first_seen():
    data = format_rows(make_bodies({"b": "é", "a": 1}, {"c": True, "a": None}), ".csv", "x")
    assert data.decode() == '"b","a","c"\r\n"é","1",""\r\n"","","true"\r\n'


def test_csv_writes_nested_values_as_json_and_keeps_quotes_and_lines():
    (body,) = make_bodies({"l": ["é", None], "d": {"k": False}, "t": 'a "b"\r\nc,d', "n": -1.5})
    assert read_cells(format_rows([body], ".csv", "x"))[1] == ['["é",null]', '{"k":false}', 'a "b"\r\nc,d', "-1.5"]


STARTS = st.text(st.sampled_from("=+-@\t\r\0a'\""), max_size=3)


@given(st.lists(st.dictionaries(STARTS, STARTS | st.lists(STARTS, max_size=2) | st.none(), max_size=3), max_size=3))
def test_no_cell_of_a_csv_starts_a_formula(rows):
    bodies = [write_body(row, sink="file:rows.csv") for row in rows]
    for cells in read_cells(format_rows(bodies, ".csv", "x")):
        assert not any(cell.startswith(FORMULAS) for cell in cells)


def test_a_column_name_that_is_a_formula_is_disarmed_and_a_number_is_not():
    assert read_cells(format_rows(make_bodies({"=1+1": -5}), ".csv", "x")) == [["'=1+1"], ["-5"]]


def test_a_text_is_not_disarmed_twice():
    body = write_body({"a": "=1+1"}, sink="file:rows.csv")
    assert read_cells(format_rows([body], ".csv", "x"))[1] == ["'=1+1"]


def test_parquet_holds_every_field_of_every_row():
    data = format_rows(make_bodies({"a": 1}, {"b": [1]}), ".parquet", "x")
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": [1]}]


@pytest.mark.parametrize("rows", [({"a": 1}, {"a": "x"}), ({"a": {}},), ({"a": [1, {}]},)])
def test_rows_that_are_no_table_are_refused_on_one_line(rows):
    with pytest.raises(DeliveryFailed, match=r"rows for PLACE do not fit one parquet table") as caught:
        format_rows(make_bodies(*rows), ".parquet", "PLACE")
    assert "\n" not in str(caught.value)


def test_a_row_that_fits_no_table_is_refused_before_anything_is_used_up():
    refuse_unfit(b'{"a":1}', ".parquet", "x")
    with pytest.raises(SinkRefused, match="do not fit"):
        refuse_unfit(b'{"a":{}}', ".parquet", "x")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_the_same_only_with_the_same_rows(suffix):
    ours, other = (format_rows(make_bodies({"a": n}), suffix, "x") for n in (1, 2))
    assert is_same_file(ours, ours, suffix)
    assert not is_same_file(other, ours, suffix)
    assert not is_same_file(ours[:-1], ours, suffix)
    assert not is_same_file(b"", ours, suffix)


def test_a_parquet_file_of_another_version_with_the_same_rows_is_the_same():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer, version="1.0", compression="none")
    ours = format_rows(make_bodies({"a": 1}), ".parquet", "x")
    assert buffer.getvalue() != ours
    assert is_same_file(buffer.getvalue(), ours, ".parquet")


@pytest.mark.parametrize("release_id", ["", "../x", "a/b", "a\n", "é", "a b"])
def test_a_release_that_could_lead_elsewhere_is_refused(release_id):
    with pytest.raises(SinkRefused, match="cannot be a part of a file's name"):
        get_release_part(Consignment(release_id, []))
