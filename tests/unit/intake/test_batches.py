from itertools import islice

import pytest

from overnight.intake import batches
from overnight.intake.batches import cut_batches, size_batch
from overnight.intake.source_rows import Columns, SourceRow
from overnight.parts import read_part

COLUMNS = Columns("id", ("text",), ())


def make_rows(n):
    return (SourceRow(i, str(i), {"text": "x"}) for i in range(1, n + 1))


@pytest.mark.parametrize(("n", "size"), [(1, 500), (100, 500), (101, 1000), (200, 1000), (201, 2000)])
def test_batches_double_every_hundred(n, size):
    assert size_batch(n) == size


def test_each_batch_counts_from_one_and_is_full_but_the_last(tmp_path):
    batches = list(cut_batches(make_rows(1200), COLUMNS, tmp_path))
    assert [(b.n, b.n_rows) for b in batches] == [(1, 500), (2, 500), (3, 200)]


def test_a_batch_is_written_before_the_next_is_read(tmp_path):
    rows = make_rows(2000)
    first = next(iter(cut_batches(rows, COLUMNS, tmp_path)))
    assert read_part(first.part, tmp_path).num_rows == 500
    assert next(rows).number == 501


def test_the_same_rows_give_the_same_part_and_digest(tmp_path):
    once, again = (list(cut_batches(make_rows(700), COLUMNS, tmp_path)) for _ in range(2))
    assert once == again


def test_a_duplicate_is_found_across_batches(tmp_path):
    rows = [*make_rows(900), SourceRow(901, "3", {"text": "y"})]
    last = list(cut_batches(rows, COLUMNS, tmp_path))[-1]
    row = read_part(last.part, tmp_path).to_pylist()[-1]
    assert (row["failure_class"], row["row_id"]) == ("duplicate_id", "row-901")
    assert "row 3 has already" in row["reason"]


def test_a_spare_name_never_meets_a_real_one(tmp_path):
    rows = [SourceRow(1, "row-2", {"text": "x"}), SourceRow(2, "", {"text": "x"}), SourceRow(3, "", {"text": "x"})]
    [batch] = cut_batches(rows, COLUMNS, tmp_path)
    assert read_part(batch.part, tmp_path)["row_id"].to_pylist() == ["row-2", "row-2_", "row-3"]


@pytest.mark.parametrize(
    ("ids", "row_ids"),
    [
        (["row-2", "a", "a"], ["row-2", "a", "row-3"]),
        (["a", "a", "row-2"], ["a", "row-2", "row-3"]),
        (["a", "row-3", "a"], ["a", "row-3", "row-3_"]),
        (["a", None, "row-2"], ["a", "row-2", "row-3"]),
    ],
)
def test_names_are_given_row_by_row_where_one_cannot_serve(tmp_path, ids, row_ids):
    rows = [SourceRow(n, row_id, {"text": "x"}) for n, row_id in enumerate(ids, 1)]
    [batch] = cut_batches(rows, COLUMNS, tmp_path)
    assert read_part(batch.part, tmp_path)["row_id"].to_pylist() == row_ids


def test_a_name_of_a_batch_with_a_duplicate_is_kept_for_the_batches_after_it(tmp_path):
    rows = [*make_rows(499), SourceRow(500, "1", {"text": "y"}), SourceRow(501, "2", {"text": "y"})]
    last = list(cut_batches(rows, COLUMNS, tmp_path))[-1]
    assert "row 2 has already" in read_part(last.part, tmp_path)["reason"].to_pylist()[0]


def test_a_consumer_may_stop_after_any_batch(tmp_path):
    stream = cut_batches(make_rows(3000), COLUMNS, tmp_path)
    assert len(list(islice(stream, 2))) == 2
    stream.close()


def test_a_batch_of_large_rows_has_fewer(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "_MOST_CHARACTERS", 50)
    cut = list(cut_batches(make_rows(10), COLUMNS, tmp_path))
    assert [(b.n, b.n_rows) for b in cut] == [(1, 5), (2, 5)]
