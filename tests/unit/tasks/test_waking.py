from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from overnight.ledger.schema import passes, runs
from tasks import wake_runs
from tests.conftest import House
from tests.fakes.prefect_api import FakePrefect

BAD, GOOD, DEPLOYMENT = (str(uuid.UUID(int=n)) for n in (1, 2, 3))


def _open(house: House, run_id: str, flow_run_id: str, now: float) -> None:
    known = {"run_id": run_id, "flow": "sort", "parameters": "{}", "kind": "night", "state": "batched"}
    opened = {"run_id": run_id, "flow_run_id": flow_run_id, "deployed": True, "started_at": now}
    house.ledger.write(lambda c: c.execute(sa.insert(runs), known | {"started_at": now}))
    house.ledger.write(lambda c: c.execute(sa.insert(passes), opened))


@pytest.mark.parametrize("refusal", [500, 409])
def test_what_prefect_refuses_for_one_run_keeps_no_other_asleep(
    house: House, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    # The newest is looked after first.
    _open(house, "night-2", BAD, now=2.0)
    _open(house, "night-1", GOOD, now=1.0)
    suspended = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_key": "batches-1"}}
    found = {"id": GOOD, "flow_id": GOOD, "deployment_id": DEPLOYMENT, "state": suspended}
    monkeypatch.setenv("OVERNIGHT_HOME", str(house.home))
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", house.ledger.url)
    answers = {
        f"/flow_runs/{BAD}": refusal,
        f"/flow_runs/{GOOD}": found,
        f"/deployments/{DEPLOYMENT}": {"id": DEPLOYMENT, "name": "nightly", "flow_id": GOOD},
        f"/flow_runs/{GOOD}/resume": {"state": suspended, "status": "ACCEPT", "details": {"type": "accept_details"}},
    }
    with FakePrefect(answers) as fake, temporary_settings({PREFECT_API_URL: fake.url}), disable_run_logger():
        assert wake_runs.fn() == 1
