from __future__ import annotations

import pytest

from overnight.report.shape import LENGTH_BINS, describe_shape, find_bin


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"b": 1.5, "a": "x"}, "{a:text,b:number}"),
        ({"a": "", "b": None, "c": True}, "{a:empty text,b:null,c:bool}"),
        ({"tags": []}, "{tags:[]}"),
        ({"tags": ["x"]}, "{tags:[1 text]}"),
        ({"tags": ["x"] * 7}, "{tags:[4+ text]}"),
        ({"tags": [1, "x"]}, "{tags:[2+ number|text]}"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "{a:{b:{c:{d:{…}}}}}"),
    ],
)
def test_a_shape_has_keys_and_kinds_and_nothing_of_the_content(value: object, shape: str) -> None:
    assert describe_shape(value) == shape


def test_every_length_falls_into_the_bin_that_begins_at_or_before_it() -> None:
    assert [LENGTH_BINS[find_bin(n)] for n in (0, 1, 2, 5, 100, 10_000_000)] == [0, 1, 2, 4, 91, LENGTH_BINS[-1]]
