import json

import pyarrow.parquet as pq
import pytest

from overnight.failures import SinkRefused
from overnight.payloads import make_payload
from overnight.sinks import DeliveryFailed, FileSink, open_sink


def make_payloads(sink, *outputs):
    origin = {"request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
    return [make_payload({"row_id": str(i), "output": o, **origin}, sink=sink) for i, o in enumerate(outputs, 1)]


def list_names(folder):
    return [path.name for path in folder.iterdir()]


def test_jsonl_holds_exactly_the_payloads_in_order(tmp_path):
    uri = f"file:{tmp_path}/new/folder/rows.jsonl"
    payloads = make_payloads(uri, {"a": 2}, {"a": 1})
    assert (
        open_sink(uri, allow_hosts=frozenset()).write(iter(payloads)) == f"2 rows in {tmp_path}/new/folder/rows.jsonl"
    )
    assert (tmp_path / "new/folder/rows.jsonl").read_bytes() == b"".join(p.body + b"\n" for p in payloads)


def test_parquet_holds_the_payloads_with_nested_values_as_they_are(tmp_path):
    uri = f"file:{tmp_path}/rows.parquet"
    payloads = make_payloads(uri, {"a": {"b": [1]}, "day": "2024-01-01"}, {"a": None, "day": "=1+1"})
    FileSink(uri).write(payloads)
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [json.loads(p.body) for p in payloads]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_release_replaces_the_file_and_leaves_nothing_beside_it(tmp_path, suffix):
    sink = FileSink(f"file:{tmp_path}/rows.{suffix}")
    sink.write(make_payloads(sink.uri, {"a": 1}, {"a": 2}))
    sink.write(make_payloads(sink.uri, {"a": 3}))
    sink.close()
    assert list_names(tmp_path) == [f"rows.{suffix}"]
    assert b"3" in (tmp_path / f"rows.{suffix}").read_bytes()


def test_no_rows_leave_the_file_as_it_was(tmp_path):
    sink = FileSink(f"file:{tmp_path}/rows.jsonl")
    assert sink.write([]).startswith("no rows")
    assert list_names(tmp_path) == []


def test_a_file_that_cannot_be_replaced_is_left_as_it_was(tmp_path):
    (tmp_path / "rows.jsonl").mkdir()
    sink = FileSink(f"file:{tmp_path}/rows.jsonl")
    with pytest.raises(DeliveryFailed, match="cannot be written"):
        sink.write(make_payloads(sink.uri, {"a": 1}))
    assert list_names(tmp_path) == ["rows.jsonl"]


def test_rows_that_fail_midway_leave_the_file_as_it_was(tmp_path):
    sink = FileSink(f"file:{tmp_path}/rows.jsonl")
    sink.write(make_payloads(sink.uri, {"a": 1}))
    before = (tmp_path / "rows.jsonl").read_bytes()

    def fail_midway():
        yield from make_payloads(sink.uri, {"a": 2})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sink.write(fail_midway())
    assert (tmp_path / "rows.jsonl").read_bytes() == before
    assert list_names(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize("outputs", [({"a": 1}, {"a": "x"}), ({"a": {}},), ({"a": [1, {}]},)])
def test_rows_that_are_no_table_are_refused_on_one_line(tmp_path, outputs):
    sink = FileSink(f"file:{tmp_path}/rows.parquet")
    with pytest.raises(DeliveryFailed, match="do not fit one parquet table") as caught:
        sink.write(make_payloads(sink.uri, *outputs))
    assert "\n" not in str(caught.value)
    assert list_names(tmp_path) == []


def test_another_suffix_is_refused():
    with pytest.raises(SinkRefused, match="suffix"):
        open_sink("file:rows.csv", allow_hosts=frozenset())


def test_a_file_can_be_undone():
    assert FileSink("file:rows.jsonl").effect == "reversible"
