import json
import os

import pyarrow.parquet as pq
import pytest

from overnight.failures import SinkRefused
from overnight.payloads import make_payload
from overnight.sinks.contract import Consignment
from overnight.sinks.errors import DeliveryDeferred
from overnight.sinks.file import FileSink

ORIGIN = {"request_key": "k", "prompt_hash": "h", "model": "local:tiny"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "rows.jsonl"


@pytest.fixture
def sink(path):
    return FileSink(f"file:{path}")


def make_consignment(release_id, *outputs, suffix="jsonl", replaces_release=False):
    rows = [{"row_id": str(i), "output": output, **ORIGIN} for i, output in enumerate(outputs, 1)]
    payloads = [make_payload(row, sink=f"file:rows.{suffix}") for row in rows]
    return Consignment(release_id, payloads, replaces_release)


def read_fields(path, name="a"):
    return [json.loads(line)[name] for line in path.read_bytes().splitlines()]


def list_names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def put_there(path, data=b"mine\n"):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def settled(outcomes):
    return [outcome.is_delivered for outcome in outcomes]


def test_it_says_what_it_does():
    assert FileSink.effect == "reversible"
    assert FileSink.operation == "replace"
    assert FileSink.replaces
    assert FileSink.dedupes
    assert FileSink.n_at_once is None


def test_jsonl_holds_exactly_the_payloads_in_order(sink, path):
    consignment = make_consignment("r1", {"a": 2}, {"a": 1})
    outcomes = sink.deliver(consignment)
    assert settled(outcomes) == [True, True]
    assert outcomes[0].detail == f"2 rows in {path}"
    assert path.read_bytes() == b"".join(payload.body + b"\n" for payload in consignment.payloads)


def test_parquet_holds_the_payloads_with_nested_values_as_they_are(tmp_path):
    sink = FileSink(f"file:{tmp_path}/rows.parquet")
    consignment = make_consignment("r1", {"a": {"b": [1]}, "day": "2024-01-01"}, {"a": None, "day": "=1+1"})
    sink.deliver(consignment)
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [json.loads(p.body) for p in consignment.payloads]


def test_csv_holds_the_rows_with_formulas_disarmed(tmp_path):
    sink = FileSink(f"file:{tmp_path}/rows.csv")
    sink.deliver(make_consignment("r1", {"a": "=1+1"}, suffix="csv"))
    assert (tmp_path / "rows.csv").read_bytes().startswith(b'"a","model",')
    assert b'"\'=1+1",' in (tmp_path / "rows.csv").read_bytes()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_release_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path, suffix):
    sink = FileSink(f"file:{tmp_path}/rows.{suffix}")
    sink.deliver(make_consignment("r1", {"a": 1}, {"a": 2}))
    sink.deliver(make_consignment("r2", {"a": 3}, replaces_release=True))
    sink.close()
    assert list_names(tmp_path) == [f"rows.{suffix}"]
    assert b"3" in (tmp_path / f"rows.{suffix}").read_bytes()


def test_no_rows_leave_the_file_as_it_was(sink, path):
    put_there(path)
    assert sink.deliver(make_consignment("r1")) == []
    assert sink.recall(make_consignment("r1"), None) == []
    assert path.read_bytes() == b"mine\n"
    assert list_names(path.parent) == ["rows.jsonl"]


def test_a_file_that_was_no_releases_is_kept_beside(sink, path):
    put_there(path)
    sink.deliver(make_consignment("r1", {"a": 1}))
    assert read_fields(path) == [1]
    assert (path.parent / ".rows.jsonl.before-r1").read_bytes() == b"mine\n"


def test_where_links_do_not_work_the_file_is_copied(sink, path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    put_there(path)
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    assert list_names(path.parent) == [".rows.jsonl.before-r1", "rows.jsonl"]
    assert (path.parent / ".rows.jsonl.before-r1").read_bytes() == b"mine\n"
    assert settled(sink.recall(consignment, None)) == [True]
    assert path.read_bytes() == b"mine\n"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_delivery_taken_up_again_keeps_what_was_kept(sink, path, is_replaced):
    put_there(path)
    kept = path.parent / ".rows.jsonl.before-r1"
    consignment = make_consignment("r1", {"a": 1})
    if is_replaced:
        sink.deliver(consignment)
    else:
        kept.hardlink_to(path)
    assert settled(sink.deliver(consignment)) == [True]
    assert kept.read_bytes() == b"mine\n"
    assert read_fields(path) == [1]


def test_a_delivery_taken_up_again_does_not_keep_its_own_rows(sink, path):
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    assert settled(sink.deliver(consignment)) == [True]
    assert list_names(path.parent) == ["rows.jsonl"]
    sink.recall(consignment, None)
    assert list_names(path.parent) == []


def test_neither_the_kept_file_nor_a_newer_one_is_lost(sink, path):
    put_there(path)
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    put_there(path, b"newer\n")
    with pytest.raises(DeliveryDeferred, match="Move one of the two away"):
        sink.deliver(consignment)
    assert path.read_bytes() == b"newer\n"
    assert (path.parent / ".rows.jsonl.before-r1").read_bytes() == b"mine\n"


@pytest.mark.parametrize("made", ["folder", "pipe"])
def test_what_is_no_plain_file_is_left_as_it_was(sink, path, made):
    path.parent.mkdir()
    if made == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(DeliveryDeferred, match="as it was") as caught:
        sink.deliver(make_consignment("r1", {"a": 1}))
    assert "\n" not in str(caught.value)
    assert list_names(path.parent) == ["rows.jsonl"]


def test_a_folder_that_cannot_be_made_defers_the_delivery(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    sink = FileSink(f"file:{tmp_path}/out/rows.jsonl")
    with pytest.raises(DeliveryDeferred, match="cannot be written"):
        sink.deliver(make_consignment("r1", {"a": 1}))


def test_a_link_to_the_file_is_given_back_as_a_link(sink, path, tmp_path):
    (tmp_path / "real").write_bytes(b"mine\n")
    path.parent.mkdir()
    path.symlink_to(tmp_path / "real")
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    assert (tmp_path / "real").read_bytes() == b"mine\n"
    sink.recall(consignment, None)
    assert path.is_symlink()
    assert path.read_bytes() == b"mine\n"


def test_rows_that_are_no_table_are_refused_for_good_and_the_file_stays(tmp_path):
    sink = FileSink(f"file:{tmp_path}/rows.parquet")
    put_there(tmp_path / "rows.parquet")
    outcomes = sink.deliver(make_consignment("r1", {"a": 1}, {"a": "x"}))
    assert settled(outcomes) == [False, False]
    assert "do not fit one parquet table" in outcomes[0].detail
    assert "\n" not in outcomes[0].detail
    assert list_names(tmp_path) == ["rows.parquet"]


def test_a_row_that_fits_no_table_is_refused_before_anything_is_used_up(tmp_path):
    sink = FileSink(f"file:{tmp_path}/rows.parquet")
    with pytest.raises(SinkRefused, match="do not fit"):
        sink.check(make_consignment("r1", {"a": {}}).payloads[0])
    sink.check(make_consignment("r1", {"a": 1}).payloads[0])
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_recall_restores_the_release_before(tmp_path, suffix):
    sink = FileSink(f"file:{tmp_path}/rows.{suffix}")
    first = make_consignment("r1", {"a": 1})
    second = make_consignment("r2", {"a": 2}, {"a": 3}, replaces_release=True)
    sink.deliver(first)
    before = (tmp_path / f"rows.{suffix}").read_bytes()
    sink.deliver(second)
    for _ in range(2):
        outcomes = sink.recall(second, first)
        assert settled(outcomes) == [True, True]
        assert outcomes[0].detail == f"{tmp_path}/rows.{suffix} holds release r1 again"
        assert (tmp_path / f"rows.{suffix}").read_bytes() == before


def test_a_recall_restores_what_was_no_releases(sink, path):
    put_there(path)
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    for _ in range(2):
        assert settled(sink.recall(consignment, None)) == [True]
        assert path.read_bytes() == b"mine\n"


def test_what_is_recalled_can_be_delivered_and_recalled_again(sink, path):
    put_there(path)
    consignment = make_consignment("r1", {"a": 1})
    for _ in range(2):
        sink.deliver(consignment)
        assert read_fields(path) == [1]
        sink.recall(consignment, None)
        assert path.read_bytes() == b"mine\n"


def test_a_recall_removes_a_file_where_none_was(sink, path):
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    for _ in range(2):
        assert settled(sink.recall(consignment, None)) == [True]
        assert list_names(path.parent) == []


@pytest.mark.parametrize("before", ["release", "file", "nothing"])
def test_a_file_that_was_changed_since_is_left_as_it_is(sink, path, before):
    if before == "file":
        put_there(path)
    first, second = (make_consignment(f"r{n}", {"a": n}, replaces_release=before == "release") for n in (1, 2))
    sink.deliver(second)
    put_there(path, b"edited\n")
    (outcome,) = sink.recall(second, first if before == "release" else None)
    assert not outcome.is_delivered
    assert outcome.detail == f"{path} was changed since release r2: it is left as it is."
    assert path.read_bytes() == b"edited\n"


def test_a_file_that_was_removed_since_is_not_brought_back(sink, path):
    put_there(path)
    consignment = make_consignment("r1", {"a": 1})
    sink.deliver(consignment)
    path.unlink()
    assert settled(sink.recall(consignment, None)) == [False]
    assert not path.exists()


def test_a_release_that_could_lead_elsewhere_is_refused(sink, path):
    put_there(path)
    with pytest.raises(SinkRefused, match="cannot be a part"):
        sink.deliver(make_consignment("../r1", {"a": 1}))
    assert path.read_bytes() == b"mine\n"
