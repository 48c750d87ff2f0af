from __future__ import annotations

import json

from tests.conftest import House
from tests.unit.cli.conftest import Cli


def test_without_quarantined_rows_it_says_so(cli: Cli, house: House) -> None:
    house.offer(2)
    assert cli("quarantine")[2] == "overnight: No run has quarantined rows. `overnight runs` lists the runs.\n"
    _, out, _ = cli("quarantine", "night-1", "--json")
    assert json.loads(out) == {"run_id": "night-1", "flow": "sort", "groups": [], "n_to_retry": 0, "n_rows": 0}


def test_a_retry_of_no_run_or_without_a_row_is_refused_before_anything_starts(cli: Cli, house: House) -> None:
    house.offer(2)
    assert "Say which run's rows are retried" in cli("quarantine", "--retry")[2]
    code, out, err = cli("quarantine", "night-1", "--retry", "--reason", "refusal")
    assert (code, out) == (1, "")
    assert "Run night-1 has no quarantined row to ask again for 'refusal'." in err
    assert "There is no run night-9" in cli("quarantine", "night-9")[2]
