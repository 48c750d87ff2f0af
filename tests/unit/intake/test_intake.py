import gc
from pathlib import Path

import pytest

from overnight.failures import InputRefused
from overnight.intake import read_batches

SAMPLE = Path(__file__).parents[3] / "data/samples/tickets.csv"


def test_a_file_address_is_a_path(intake):
    path = intake.write("id,text\n1,a\n", "my rows.csv")
    assert len(intake.read(Path(path).as_uri())) == 1


@pytest.mark.parametrize(
    "source", ["rows.txt", "rows", "rows.zip", "rows.csv.bz2", "rows.parquet.gz", "https://a.example/x"]
)
def test_other_kinds_of_source_are_refused_with_what_can_be_read(intake, source):
    with pytest.raises(InputRefused, match=r"of no kind that can be read. Give a \.csv, \.jsonl"):
        intake.read(source)


def test_a_file_that_is_not_there_is_refused(intake):
    with pytest.raises(InputRefused, match=r"rows\.csv cannot be opened \(No such file"):
        intake.read(str(intake.home / "rows.csv"))


@pytest.mark.parametrize("name", ["folder.csv", "folder.parquet"])
def test_an_empty_folder_is_refused(intake, name):
    (intake.home / name).mkdir()
    with pytest.raises(InputRefused, match="has no file to read there"):
        intake.read(str(intake.home / name))


def test_a_limit_takes_the_first_rows(intake):
    source = intake.write("id,text\n" + "".join(f"{i},x\n" for i in range(700)))
    assert [row["row_id"] for row in intake.read(source, limit=3)] == ["0", "1", "2"]
    assert len(intake.read(source, limit=600)) == 600


def test_a_fault_past_the_limit_is_not_met(intake):
    assert len(intake.read(intake.write('id,text\n1,a\n2,"open'), limit=1)) == 1


def count_open():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_nothing_stays_open_when_the_consumer_stops(intake):
    source = intake.write("id,text\n" + "".join(f"{i},x\n" for i in range(2000)))
    before = count_open()
    stream = read_batches(source, id_column="id", inputs=("text",), optional_inputs=(), place=intake.home)
    next(stream)
    assert count_open() > before
    stream.close()
    gc.collect()
    assert count_open() == before


def test_the_sample_holds_what_it_was_written_for(intake):
    rows = intake.read(str(SAMPLE), id_column="ticket_id", inputs=("body",), optional_inputs=("subject",))
    assert len(rows) == 24
    faults = {row["row_number"]: row["failure_class"] for row in rows if row["failure_class"]}
    assert faults == {16: "missing_value", 18: "duplicate_id"}
