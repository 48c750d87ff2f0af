import gzip
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from overnight.failures import InputRefused


@pytest.fixture
def folder(intake):
    """Rows 1 to 5 in three files of three kinds, with what is none of the data beside them."""
    folder = intake.home / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("id,text\n1,a\n2,b\n")
    (folder / "b.jsonl").write_text('{"id":3,"text":"c"}\n{"id":4,"text":"d"}\n')
    pq.write_table(pa.table({"id": ["5"], "text": ["e"]}), folder / "c.parquet")
    (folder / ".DS_Store").write_text("x")
    (folder / "_SUCCESS").write_text("")
    return folder


def list_rows(rows):
    return [(row["row_number"], row["row_id"], row["input"]["text"]) for row in rows]


ALL = [(1, "1", "a"), (2, "2", "b"), (3, "3", "c"), (4, "4", "d"), (5, "5", "e")]


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/*", "{}/**", "{}/[abc].*"])
def test_a_folder_is_one_stream_in_the_order_of_its_names(intake, folder, form):
    assert list_rows(intake.read(form.format(folder))) == ALL


def test_without_an_id_column_rows_are_numbered_across_files(intake, folder):
    assert [row["row_id"] for row in intake.read(str(folder), id_column=None)] == ["1", "2", "3", "4", "5"]


def test_a_limit_counts_across_files_and_opens_none_behind_it(intake, folder):
    (folder / "b.jsonl").write_text("no JSON")
    assert len(intake.read(str(folder), limit=2)) == 2


def test_a_reason_names_the_file_and_the_row_in_it(intake, folder):
    (folder / "b.jsonl").write_text('{"id":1,"text":"c"}\n{"id":4,"text":NaN}\n{"id":5}\n')
    rows = intake.read(str(folder))
    assert [row["failure_class"] for row in rows[2:]] == [
        "duplicate_id",
        "undecodable",
        "missing_value",
        "duplicate_id",
    ]
    assert (
        f"Row 3 (row 1 of {folder}/b.jsonl) has the id '1', which row 1 (row 1 of {folder}/a.csv)" in rows[2]["reason"]
    )
    assert f"Row 4 (row 2 of {folder}/b.jsonl) holds NaN" in rows[3]["reason"]
    assert f"Row 5 (row 3 of {folder}/b.jsonl) has no value" in rows[4]["reason"]


def test_a_file_of_the_folder_that_cannot_be_read_is_named(intake, folder):
    (folder / "b.jsonl").write_text('{"id":1,"words":"c"}\n')
    with pytest.raises(InputRefused, match=r"b\.jsonl, in its first 1 rows, has no column 'text'"):
        intake.read(str(folder))


@pytest.mark.parametrize("name", ["notes.txt", "rows.parquet.gz", "rows"])
def test_a_file_of_another_kind_is_refused_by_name_and_a_pattern_leaves_it_out(intake, folder, name):
    (folder / name).write_text("x")
    with pytest.raises(InputRefused, match=rf"{name} is of no kind that can be read"):
        intake.read(str(folder))
    assert list_rows(intake.read(f"{folder}/*.csv")) == ALL[:2]


def test_a_folder_inside_is_refused_by_name_and_two_stars_take_it(intake, folder):
    (folder / "b").mkdir()
    (folder / "b" / "z.csv").write_text("id,text\n6,f\n")
    with pytest.raises(InputRefused, match=r"holds the folder 'b'.*/\*\*"):
        intake.read(str(folder))
    assert [row["row_id"] for row in intake.read(f"{folder}/**")] == ["1", "2", "6", "3", "4", "5"]


@pytest.mark.parametrize("form", ["{}", "{}/*.csv"])
def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_read(intake, folder, form):
    (folder / "d.csv").symlink_to(folder / "a.csv")
    assert len(intake.read(form.format(folder), id_column=None)) > 2
    secret = intake.home / "secret.csv"
    secret.write_text("id,text\n9,secret\n")
    (folder / "e.csv").symlink_to(secret)
    with pytest.raises(InputRefused, match=r"e\.csv is a link that leads out of"):
        intake.read(form.format(folder))


def test_what_is_neither_file_nor_folder_is_refused_at_once(intake):
    os.mkfifo(intake.home / "pipe.csv")
    with pytest.raises(InputRefused, match=r"pipe\.csv is neither a file nor a folder"):
        intake.read(str(intake.home / "pipe.csv"))


def test_a_name_with_the_signs_of_a_pattern_is_a_name(intake):
    assert len(intake.read(intake.write("id,text\n1,a\n", "rows[1]*.csv"))) == 1


def test_a_pattern_that_nothing_matches_is_refused(intake):
    with pytest.raises(InputRefused, match="has no file to read there"):
        intake.read(f"{intake.home}/*.jsonl")


PLAIN = {"csv": b"id,text\n" + b"".join(b"%d,a\n" % n for n in range(900)), "jsonl": b'{"id":1,"text":"a"}\n'}
COMPRESS = {"gz": gzip.compress, "zst": zstandard.compress}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kind", PLAIN)
def test_a_compressed_file_is_read_as_what_is_in_it(intake, kind, suffix):
    plain = intake.read(intake.write(PLAIN[kind], f"rows.{kind}"))
    assert intake.read(intake.write(COMPRESS[suffix](PLAIN[kind]), f"rows.{kind}.{suffix}")) == plain


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-9], lambda data: b"no" + data, lambda data: data[:9] + b"!" * 99]
)
def test_a_compressed_file_that_is_cut_or_spoilt_is_refused_whole(intake, suffix, spoil):
    source = intake.write(spoil(COMPRESS[suffix](PLAIN["csv"])), f"rows.csv.{suffix}")
    with pytest.raises(InputRefused, match="cannot be decompressed as") as caught:
        intake.read(source)
    assert "\n" not in str(caught.value)
