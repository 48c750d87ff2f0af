from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from overnight.failures import InputRefused


def write(intake, **columns):
    path = intake.home / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (7, 7),
        (0.5, 0.5),
        (True, True),
        ("é", "é"),
        (Decimal("1.10"), "1.10"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-02-29T12:00:00+00:00"),
        (timedelta(seconds=90), "0:01:30"),
        ([1.0, float("nan")], [1.0, None]),
        ({"a": {"b": [b"x"]}}, {"a": {"b": ["x"]}}),
        (b"caf\xc3\xa9", "café"),
    ],
)
def test_values_become_their_json_form(intake, value, plain):
    [row] = intake.read(write(intake, id=["1"], text=[value]))
    assert row["state"] == "pending"
    assert row["input"] == {"text": plain}


@pytest.mark.parametrize(
    ("ids", "row_ids"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, None], ["1", "row-2"]),
        ([1.5, 2.0], ["1.5", "2"]),
        (["a", ""], ["a", "row-2"]),
        (["a", "a"], ["a", "row-2"]),
    ],
)
def test_ids_are_text(intake, ids, row_ids):
    rows = intake.read(write(intake, id=ids, text=["x", "y"]))
    assert [row["row_id"] for row in rows] == row_ids


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_null_and_nan_are_missing(intake, value):
    rows = intake.read(write(intake, id=["1", "2"], text=[1.0, value]), optional_inputs=("more",))
    assert (rows[1]["failure_class"], rows[1]["input"]) == ("missing_value", {"more": "", "text": None})


@pytest.mark.parametrize(
    ("column", "bad"),
    [
        (pa.array([b"good", b"\xff"]), "byte 0xff"),
        (pa.array(["good", "a\0"]), "byte 0x00"),
        (pa.array([b"good", b"\xff"]).view(pa.string()), "byte 0xff"),
        (pa.array([0, 10**15], pa.timestamp("ms")), "a value that cannot be read"),
    ],
)
def test_one_unreadable_value_costs_one_row(intake, column, bad):
    good, row = intake.read(write(intake, id=["1", "2"], text=column))
    assert good["state"] == "pending"
    assert (row["failure_class"], row["row_id"], row["input"]) == ("undecodable", "2", None)
    assert f"Row 2 holds {bad}" in row["reason"]


def test_only_the_declared_columns_are_read_and_columns_that_look_nested_are_plain(intake):
    [row] = intake.read(write(intake, id=["1"], text=["a"], **{"a.b": ["c"]}, blob=[b"\xff"]), inputs=("text", "a.b"))
    assert row["input"] == {"text": "a", "a.b": "c"}


def test_numbers_run_on_across_what_is_decoded_at_once(intake):
    rows = intake.read(write(intake, id=list(range(2500)), text=["x"] * 2500))
    assert [row["row_number"] for row in rows] == list(range(1, 2501))


def test_a_missing_column_names_those_there_are(intake):
    with pytest.raises(InputRefused, match=r"no column 'text'.*'id', 'words'"):
        intake.read(write(intake, id=["1"], words=["a"]))


def test_no_rows_are_refused(intake):
    with pytest.raises(InputRefused, match="no rows"):
        intake.read(write(intake, id=pa.array([], pa.string()), text=pa.array([], pa.string())))


def test_a_file_that_is_not_parquet_is_refused_on_one_line(intake):
    with pytest.raises(InputRefused, match="cannot be read as parquet") as caught:
        intake.read(intake.write("id,text\n1,a\n", "rows.parquet"))
    assert "\n" not in str(caught.value)


def test_the_same_values_have_the_same_input_as_in_csv(intake):
    [from_csv] = intake.read(intake.write("id,text\n1,a\n"))
    [from_parquet] = intake.read(write(intake, id=["1"], text=["a"]))
    assert from_csv == from_parquet
