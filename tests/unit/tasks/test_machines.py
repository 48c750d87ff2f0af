"""Which runner a flow gets by its settings, and which workers are refused before anything is paid."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from overnight.failures import OvernightError
from overnight.ledger import open_ledger
from overnight.parts import write_part
from overnight.records import Part
from overnight.settings import Settings
from tasks.machines import BatchRunner, connect_machines
from tasks.orders import Orders, find_misfit, give_orders, obey
from tests.conftest import House

pytest.importorskip("distributed", reason="The extra overnight[dask] is not installed.")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, house: House) -> Settings:
    """The settings of a worker, whose environment names the house."""
    for name in [n for n in os.environ if n.startswith("OVERNIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OVERNIGHT_HOME", str(house.home))
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", house.settings.ledger_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-0123456789abcdef")
    house.begin()
    return Settings.from_env()


@pytest.fixture
def orders(own: Settings, house: House) -> Orders:
    part = write_part([], house.home)
    return give_orders(
        "night-1", house.make_prompt(), part, replace(own, budget_usd=0.5, concurrency=3), pass_id=1, n_processes=2
    )


@pytest.fixture
def other_ledger(house: House) -> Iterator[str]:
    url = f"sqlite:///{house.home / 'other.sqlite'}"
    yield url
    open_ledger(url).close()


def test_a_worker_takes_the_bounds_of_the_run_and_keeps_its_own_places(orders: Orders, own: Settings) -> None:
    settings = obey(orders)
    assert (settings.budget_usd, settings.concurrency) == (0.5, 3)
    assert (settings.home, settings.ledger_url) == (own.home, own.ledger_url)
    assert find_misfit(orders) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"code": "other"}, "Its code of overnight or tasks, or its Python"),
        ({"boot": "another"}, "It is on another machine, and SQLite is no ledger for several."),
        ({"only_hosts": frozenset({"api.example.com"})}, "Its OVERNIGHT_ONLY_HOSTS is not the flow's"),
        ({"part": Part("parts/aa/gone.parquet", "aa", 1)}, "Part parts/aa/gone.parquet cannot be read"),
    ],
    ids=["code", "machine", "hosts", "parts"],
)
def test_a_worker_that_does_not_fit_says_why_in_a_line(orders: Orders, changes: dict[str, Any], says: str) -> None:
    why = find_misfit(replace(orders, **changes))
    assert why is not None
    assert why.startswith(says)
    assert "\n" not in why


def test_a_worker_with_another_ledger_does_not_fit(
    orders: Orders, other_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", other_ledger)
    assert "is not the flow's. Give both one OVERNIGHT_LEDGER_URL." in str(find_misfit(orders))


@pytest.mark.parametrize(
    ("urls", "fits"),
    [
        (("s3://new/parts", "s3://old/parts"), False),
        (("s3://new/parts", ""), False),
        (("", "s3://old/parts"), False),
        (("s3://new/parts", "S3://new/parts/"), True),
        (("file:///flow", "file:///worker"), True),
        (("file:///flow", ""), True),
    ],
)
def test_a_worker_that_keeps_parts_in_another_store_does_not_fit_however_late_it_comes(
    own: Settings, house: House, monkeypatch: pytest.MonkeyPatch, urls: tuple[str, str], fits: bool
) -> None:
    monkeypatch.setenv("OVERNIGHT_PARTS_URL", urls[0])
    orders = give_orders("night-1", house.make_prompt(), None, Settings.from_env(), pass_id=1, n_processes=2)
    monkeypatch.setenv("OVERNIGHT_PARTS_URL", urls[1])
    if fits:
        obey(orders)
        return
    with pytest.raises(OvernightError, match=r"^Its OVERNIGHT_PARTS_URL is not the flow's") as refused:
        obey(orders)
    assert "\n" not in str(refused.value)


def test_a_worker_without_the_key_does_not_fit(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert "OPENAI_API_KEY is not set" in str(find_misfit(orders))


@pytest.mark.parametrize(("database", "is_bound"), [("sqlite", True), ("postgres", False)])
def test_only_a_ledger_in_a_file_binds_workers_to_the_flows_machine(
    own: Settings, house: House, database: str, is_bound: bool
) -> None:
    assert (
        give_orders("night-1", house.make_prompt(), None, own, pass_id=1, n_processes=2).boot is not None
    ) is is_bound


def test_the_runner_is_chosen_when_a_run_begins(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = BatchRunner()
    assert type(standing.duplicate()) is BatchRunner
    monkeypatch.setenv("OVERNIGHT_DASK", "local:3")
    chosen: Any = standing.duplicate()
    assert (type(chosen).__name__, chosen.cluster_kwargs["n_workers"]) == ("ClusterRunner", 3)
    assert chosen.duplicate() == chosen
    monkeypatch.setenv("OVERNIGHT_DASK", "tls://scheduler:8786")
    assert standing.duplicate().address == "tls://scheduler:8786"  # type: ignore[attr-defined]


@pytest.mark.parametrize("named", ["scheduler:8786", "local:0", "local:", "tcp://scheduler", "http://scheduler:8786"])
def test_what_names_no_cluster_is_refused_once_the_run_is_open(
    own: Settings, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("OVERNIGHT_DASK", named)
    assert type(BatchRunner().duplicate()) is BatchRunner
    with pytest.raises(OvernightError, match=r"which names no cluster\. Set it to tcp://HOST:PORT"):
        connect_machines(Settings.from_env())


def test_without_the_extra_a_line_says_what_to_install(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_DASK", "local:2")
    monkeypatch.setitem(sys.modules, "tasks.cluster", None)
    assert type(BatchRunner().duplicate()) is BatchRunner
    with pytest.raises(OvernightError, match=r"Install overnight\[dask\] here and on all workers."):
        connect_machines(Settings.from_env())
