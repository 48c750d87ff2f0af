"""The doctor in a project that is up: a real server, its pool and worker, its deployments."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


def test_where_a_project_is_up_the_doctor_finds_server_pool_worker_and_deployments(site: Site) -> None:
    done = site.project.run("doctor", "--json")
    found = {finding["what"]: finding for finding in json.loads(done.out)["findings"]}
    wanted = {"server", "pool overnight", "deployments", "clock", "ledger", "notices", "model local:smollm2-135m"}
    assert {what: found[what]["level"] for what in wanted} == dict.fromkeys(wanted, "ok"), done.err
    assert "live workers: overnight" in found["pool overnight"]["said"]
    assert "of Prefect's server" in found["clock"]["said"]
