from __future__ import annotations

import orjson
import pytest

from overnight.cli.purge import read_duration
from overnight.deliver import deliver_release
from overnight.failures import OvernightError
from tests.conftest import House
from tests.unit.cli.conftest import Cli


@pytest.mark.parametrize(("text", "seconds"), [("6h", 21_600), ("90d", 7_776_000), (" 2W", 1_209_600), ("0h", 0)])
def test_a_time_is_given_in_hours_days_or_weeks(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "90days", "999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OvernightError, match="6h, 90d, 12w"):
        read_duration(text)


def test_nothing_is_dropped_where_nobody_can_be_asked(house: House, cli: Cli) -> None:
    house.offer()
    code, out, err = cli("purge", "--older-than", "0h")
    assert (code, out) == (1, "")
    assert "nobody to ask. Give --yes, or --dry-run" in err
    assert house.fetch("SELECT count(*) FROM purges") == [(0,)]


def test_it_says_in_words_and_in_json_what_it_drops(house: House, cli: Cli) -> None:
    release = house.offer()
    deliver_release(house.approve(release), ledger=house.ledger, settings=house.settings)
    house.tamper("UPDATE runs SET state = 'released'")
    code, out, _ = cli("purge", "--older-than", "0h", "--dry-run")
    assert code == 0
    assert out.startswith("Would drop, of 1 runs from before ")
    code, out, err = cli("purge", "--older-than", "0h", "--yes", "--by", "Ada", "--json")
    assert (code, err) == (0, "")
    done = orjson.loads(out)
    assert (done["is_dry"], done["counts"]["releases"], done["kept"]) == (False, 1, {})
    assert any("Not touched" in line for line in done["words"])
    assert house.fetch('SELECT "by" FROM purges') == [("Ada",)]
