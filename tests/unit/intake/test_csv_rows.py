import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overnight.failures import InputRefused
from overnight.intake import csv_rows, read_batches
from overnight.parts import read_part


def test_values_are_strings_and_quotes_hold_commas_and_newlines(intake):
    rows = intake.read(intake.write('id,text\r\n1,"a, ""b""\nc"\r\n02,7\r\n'))
    assert [(r["row_id"], r["row_number"], r["input"], r["state"]) for r in rows] == [
        ("1", 1, {"text": 'a, "b"\nc'}, "pending"),
        ("02", 2, {"text": "7"}, "pending"),
    ]


def test_the_id_is_no_part_of_the_input_and_columns_may_come_in_any_order(intake):
    one = intake.read(intake.write("id,text,more\n1,a,b\n"), optional_inputs=("more",))
    two = intake.read(intake.write("more,extra,text,id\nb,z,a,9\n"), optional_inputs=("more",))
    assert one[0]["input"] == two[0]["input"] == {"text": "a", "more": "b"}


def test_an_optional_column_may_be_absent(intake):
    [row] = intake.read(intake.write("id,text\n1,a\n"), optional_inputs=("subject",))
    assert row["input"] == {"subject": "", "text": "a"}


def test_without_an_id_column_the_number_is_the_id(intake):
    rows = intake.read(intake.write("text\na\nb\n"), id_column=None)
    assert [row["row_id"] for row in rows] == ["1", "2"]


def test_blank_lines_are_no_rows(intake):
    rows = intake.read(intake.write("\nid,text\n\n1,a\n\n\n2,b\n\n"))
    assert [row["row_number"] for row in rows] == [1, 2]


def test_a_byte_order_mark_is_no_part_of_the_header(intake):
    assert intake.read(intake.write(b"\xef\xbb\xbfid,text\n1,a\n"))[0]["row_id"] == "1"


def test_a_field_of_a_million_characters_is_read(intake):
    [row] = intake.read(intake.write(f"id,text\n1,{'x' * 1_000_000}\n"))
    assert len(row["input"]["text"]) == 1_000_000


@pytest.mark.parametrize(
    ("line", "row_id", "failure_class", "reason"),
    [
        (b"2,caf\xe9", "2", "undecodable", "Row 2 holds byte 0xe9, which is not UTF-8, in column 'text'"),
        (b"\xff,a", "row-2", "undecodable", "byte 0xff"),
        (b"2,a\0b", "2", "undecodable", "byte 0x00 (NUL)"),
        (b"2,a,b", "2", "ragged_row", "Row 2 has 3 fields where the header has 2"),
        (b"2", "2", "ragged_row", "Row 2 has 1 fields where the header has 2"),
        (b" ,a", "row-2", "empty_id", "Row 2 has no id in column 'id'"),
        (b"1,b", "row-2", "duplicate_id", "the id '1', which row 1 has already"),
        (b"2, \t", "2", "missing_value", "Row 2 has no value in 'text'"),
    ],
)
def test_a_row_that_cannot_be_asked_is_quarantined_with_its_reason(intake, line, row_id, failure_class, reason):
    good, bad, after = intake.read(intake.write(b"id,text\n1,a\n" + line + b"\n3,c\n"))
    assert (good["state"], after["state"], after["row_number"]) == ("pending", "pending", 3)
    assert (bad["state"], bad["row_id"], bad["failure_class"]) == ("quarantined", row_id, failure_class)
    assert reason in bad["reason"]


@pytest.mark.parametrize(("line", "is_null"), [(b"2,caf\xe9", True), (b"2,a,b", True), (b"1,b", False), (b"2,", False)])
def test_only_a_row_that_could_be_read_has_an_input(intake, line, is_null):
    assert (intake.read(intake.write(b"id,text\n1,a\n" + line))[1]["input"] is None) is is_null


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("id,text\n", "has no rows"),
        (b"id,te\xffxt\n1,a\n", "header of .* holds byte 0xff"),
        ("id,text\n1,a\n".encode("utf-16"), "header of .* holds byte 0x"),
        ("id,text,id\n1,a,2\n", "more than one column named 'id'"),
        ("key,text\n1,a\n", "no column 'id'.*it has 'key', 'text'"),
        ("id,words\n1,a\n", "no column 'text'"),
        ('id,text\n1,a\n2,"open\n3,c\n', "at row 2: a quote is opened and never closed"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused_on_one_line(intake, data, why):
    with pytest.raises(InputRefused, match=why) as caught:
        intake.read(intake.write(data))
    assert "\n" not in str(caught.value)


def test_a_field_past_the_bound_is_refused_with_its_row(intake, monkeypatch):
    monkeypatch.setattr(csv_rows, "MOST_CHARACTERS", 100)
    with pytest.raises(InputRefused, match=r"at row 2: (it has more than 100 characters|field larger)"):
        intake.read(intake.write('id,text\n1,a\n2,"' + "open\n" * 100))
    with pytest.raises(InputRefused, match="at row 2: it has more than 100 characters"):
        intake.read(intake.write(f"id,text\n1,a\n2,{'x' * 200}\n"))


@given(
    st.lists(st.lists(st.sampled_from([b"1", b"2", b"a", b"", b" ", b'"', b'"x,\n"', b"\xff", b"\0", "é".encode()])))
)
@example([[b'"a\r\nb"', b"\xed\xa0\x80"], [], [b"1"]])
def test_every_row_of_any_bytes_is_in_one_part_or_the_file_is_refused(records):
    data = b"id,text\n" + b"\n".join(b",".join(fields) for fields in records)
    text = io.StringIO(data.decode(errors="surrogateescape"), newline="")
    n_expected = sum(1 for fields in csv.reader(text) if fields) - 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(data)
        options = {"id_column": "id", "inputs": ("text",), "optional_inputs": (), "place": Path(folder)}
        try:
            rows = [r for b in read_batches(str(path), **options) for r in read_part(b.part, Path(folder)).to_pylist()]
        except InputRefused:
            assert n_expected == 0 or data.count(b'"') % 2
            return
    assert [row["row_number"] for row in rows] == list(range(1, n_expected + 1))
    assert len({row["row_id"] for row in rows}) == n_expected
    assert all((row["reason"] is None) == (row["state"] == "pending") for row in rows)
