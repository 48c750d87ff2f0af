from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.failures import InputRefused
from overnight.intake.quarantine import QuarantineSource, list_set_aside, parse_quarantine, read_quarantined
from overnight.parts import read_part
from tests.conftest import House


@pytest.mark.parametrize("reason", [None, "refusal", "expect_values(a b?c)"])
def test_a_source_is_read_as_it_is_written(reason: str | None) -> None:
    source = QuarantineSource("night-1", reason)
    assert parse_quarantine(str(source)) == source


def test_a_file_is_no_quarantine_and_a_run_is_to_be_named() -> None:
    assert parse_quarantine("data/quarantine:x.csv") is None
    with pytest.raises(InputRefused, match="names no run"):
        parse_quarantine("quarantine:")


def test_rows_keep_their_ids_and_numbers_and_intake_s_own_are_left_out(house: House) -> None:
    batch = house.read_batch(["a", "", "c", "d"])
    found = list(list_set_aside({(1, 1): batch}, house.home))
    assert [(row.row_id, row.failure_class, row.is_asked_again) for row in found] == [("r2", "missing_value", False)]
    [again] = read_quarantined(
        QuarantineSource("night-1"),
        [batch],
        {"r2", "r4"},
        inputs=("body",),
        optional_inputs=("tone",),
        read_from=house.home,
        place=house.home,
    )
    [row] = read_part(again.part, house.home).to_pylist()
    assert (row["row_id"], row["row_number"], row["state"]) == ("r4", 4, "pending")


def test_a_column_that_the_run_did_not_read_is_refused(house: House) -> None:
    batch = replace(house.read_batch(["a"]), n=1)
    with pytest.raises(InputRefused, match=r"Run night-1 did not read 'tone', which the prompt declares now"):
        list(
            read_quarantined(
                QuarantineSource("night-1"),
                [batch],
                {"r1"},
                inputs=("body", "tone"),
                optional_inputs=(),
                read_from=house.home,
                place=house.home,
            )
        )
