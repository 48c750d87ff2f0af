from __future__ import annotations

import os
from pathlib import Path

import pytest

from overnight.failures import OvernightError
from overnight.settings import Settings


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("OVERNIGHT_")]:
        monkeypatch.delenv(name)


def test_without_an_environment_everything_lives_in_data_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env()
    assert settings.home == tmp_path / "data"
    assert settings.ledger_url == f"sqlite:///{tmp_path / 'data' / 'ledger.sqlite'}"
    assert (settings.concurrency, settings.budget_usd, settings.limit, settings.wait) == (16, None, None, False)
    assert settings.allow_hosts == frozenset()


def test_the_home_decides_where_the_ledger_is_unless_a_url_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_HOME", "/srv/night")
    assert Settings.from_env().ledger_url == "sqlite:////srv/night/ledger.sqlite"
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", "sqlite:////srv/other.sqlite")
    assert Settings.from_env().ledger_url == "sqlite:////srv/other.sqlite"


def test_hosts_are_a_list_with_commas_whatever_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_ALLOW_HOSTS", " Intra.example, 127.0.0.1 ,,")
    assert Settings.from_env().allow_hosts == {"intra.example", "127.0.0.1"}


@pytest.mark.parametrize(
    ("name", "raw", "field", "value"),
    [
        ("OVERNIGHT_CONCURRENCY", "3", "concurrency", 3),
        ("OVERNIGHT_BUDGET_USD", "0", "budget_usd", 0.0),
        ("OVERNIGHT_BUDGET_USD", "1.5", "budget_usd", 1.5),
        ("OVERNIGHT_RETRY_BASE_S", "0", "retry_base_s", 0.0),
        ("OVERNIGHT_APPROVAL_S", "0", "approval_s", 0.0),
        ("OVERNIGHT_LIMIT", "7", "limit", 7),
        ("OVERNIGHT_WAIT", "1", "wait", True),
        ("OVERNIGHT_RUN_ID", "night-1", "run_id", "night-1"),
        ("OVERNIGHT_RUN_ID", "", "run_id", None),
    ],
)
def test_a_setting_is_read_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, name: str, raw: str, field: str, value: object
) -> None:
    monkeypatch.setenv(name, raw)
    assert getattr(Settings.from_env(), field) == value


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("OVERNIGHT_CONCURRENCY", "many", "OVERNIGHT_CONCURRENCY is 'many', which is not a number"),
        ("OVERNIGHT_CONCURRENCY", "0", "OVERNIGHT_CONCURRENCY is 0, which is not a number from 1"),
        ("OVERNIGHT_CONCURRENCY", "1.5", "not a number. Set it to int"),
        ("OVERNIGHT_BUDGET_USD", "-1", "OVERNIGHT_BUDGET_USD is -1, which is not a number from 0"),
        ("OVERNIGHT_LIMIT", "0", "OVERNIGHT_LIMIT is 0"),
        ("OVERNIGHT_BUDGET_USD", "nan", "OVERNIGHT_BUDGET_USD is nan, which is not a number"),
        ("OVERNIGHT_CALL_TIMEOUT_S", "inf", "OVERNIGHT_CALL_TIMEOUT_S is inf, which is not a number"),
    ],
)
def test_a_setting_that_is_no_number_or_too_small_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, raw: str, says: str
) -> None:
    monkeypatch.setenv(name, raw)
    with pytest.raises(OvernightError) as caught:
        Settings.from_env()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
