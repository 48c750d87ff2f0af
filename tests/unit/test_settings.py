from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from overnight.failures import OvernightError
from overnight.records import ModelTerms
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
        ("OVERNIGHT_NIGHT_S", "0", "night_s", 0.0),
        ("OVERNIGHT_STALE_S", "60", "stale_s", 60.0),
        ("OVERNIGHT_RESTARTS", "0", "restarts", 0),
        ("OVERNIGHT_LATE_S", "90", "late_s", 90.0),
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


def _declare(folder: Path, toml: str | bytes) -> None:
    (folder / "pyproject.toml").write_bytes(toml.encode() if isinstance(toml, str) else toml)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_terms_of_models_are_read_from_the_project_s_file(project: Path) -> None:
    _declare(
        project,
        """
        [project]
        name = "night"
        [tool.overnight.models."openai:our-own"]
        input_usd_per_million = 1
        output_usd_per_million = 2.5
        requests_per_minute = 500
        tokens_per_minute = 30_000
        batch_input_usd_per_million = 0.5
        batch_output_usd_per_million = 1.25
        [tool.overnight.models."anthropic:claude-sonnet-4-5"]
        requests_per_minute = 50
        """,
    )
    assert Settings.from_env().terms == (
        ModelTerms("openai:our-own", 1.0, 2.5, 500, 30_000, 0.5, 1.25),
        ModelTerms("anthropic:claude-sonnet-4-5", None, None, 50, None),
    )
    assert hash(Settings.from_env())


def test_a_model_may_be_free(project: Path) -> None:
    _declare(project, '[tool.overnight.models."openai:x"]\ninput_usd_per_million=0\noutput_usd_per_million=0.0')
    [terms] = Settings.from_env().terms
    assert (terms.input_usd_per_million, terms.output_usd_per_million) == (0.0, 0.0)


@pytest.mark.parametrize(
    "toml", [None, "", "[project]\nname='x'", "[tool.ruff]", "[tool.overnight]", "[tool.overnight.models]"]
)
def test_where_nothing_is_declared_there_are_no_terms(project: Path, toml: str | None) -> None:
    if toml is not None:
        _declare(project, toml)
    assert Settings.from_env().terms == ()


MODEL = '[tool.overnight.models."openai:x"]\n'


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[tool", "cannot be read as TOML"),
        (b"\xff\xfe", "cannot be read as TOML"),
        ("tool = 3", "tool in "),
        ("[tool]\novernight = 'x'", "tool.overnight in "),
        ("[tool.overnight]\nmodels = ['x']", "tool.overnight.models in "),
        ("[tool.overnight.models]\n'openai:x' = 3", "tool.overnight.models.'openai:x' in "),
        ("[tool.overnight.models.gpt]\n", "tool.overnight.models.'gpt' in "),
        ("[tool.overnight.models.'openai:']\n", "is not a table under the name PROVIDER:NAME"),
        (MODEL + "input_price = 1", "'input_price' of 'openai:x' in "),
        (MODEL + "input_price = 1", "is not one of input_usd_per_million, output_usd_per_million, requests_per_minute"),
        (MODEL + '"a\\nb" = 1', "'a\\nb' of 'openai:x' in "),
        (MODEL + "input_usd_per_million = 1", "output_usd_per_million of 'openai:x' in "),
        (MODEL + "output_usd_per_million = 1", "input_usd_per_million of 'openai:x' in "),
        (MODEL + "batch_output_usd_per_million = 1", "batch_input_usd_per_million of 'openai:x' in "),
        (
            MODEL + "input_usd_per_million = -1\noutput_usd_per_million = 1",
            "is -1, which is not a number of US dollars",
        ),
        (MODEL + "input_usd_per_million = '1'\noutput_usd_per_million = 1", "input_usd_per_million of 'openai:x' in "),
        (MODEL + "input_usd_per_million = 1\noutput_usd_per_million = true", "is True"),
        (MODEL + "input_usd_per_million = 1\noutput_usd_per_million = nan", "is nan"),
        (MODEL + "input_usd_per_million = 1\noutput_usd_per_million = inf", "is inf"),
        (MODEL + "requests_per_minute = 0", "requests_per_minute of 'openai:x' in "),
        (MODEL + "tokens_per_minute = -5", "is -5, which is not a whole number from 1"),
        (MODEL + "tokens_per_minute = 1.5", "is 1.5, which is not a whole number from 1"),
        (MODEL + "tokens_per_minute = true", "is True, which is not a whole number from 1"),
    ],
)
def test_terms_that_no_model_has_are_refused_in_one_line_that_names_the_file(
    project: Path, toml: str | bytes, says: str
) -> None:
    _declare(project, toml)
    with pytest.raises(OvernightError) as caught:
        Settings.from_env()
    assert says in str(caught.value)
    assert str(project / "pyproject.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_project_file_that_cannot_be_read_is_refused(project: Path) -> None:
    (project / "pyproject.toml").mkdir()
    with pytest.raises(OvernightError, match="cannot be read"):
        Settings.from_env()


def test_parts_are_in_the_home_unless_a_url_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_HOME", str(tmp_path))
    assert Settings.from_env().parts == tmp_path
    monkeypatch.setenv("OVERNIGHT_PARTS_URL", "file:///mnt/our%20share")
    assert Settings.from_env().parts == Path("/mnt/our share")
    monkeypatch.setenv("OVERNIGHT_PARTS_URL", "S3://bucket/night/")
    assert str(Settings.from_env().parts) == "s3://bucket/night"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:sesame@bucket/night", "holds a user, a password or options"),
        ("s3://bucket/night?key=sesame", "holds a user, a password or options"),
        ("ftp://host/folder", "'ftp://host/folder', where no parts can be kept. Give s3://"),
        ("memory://x/y", "where no parts can be kept"),
        ("s3:///night", "where no parts can be kept"),
        ("/mnt/share", "where no parts can be kept"),
        ("http://[::1", "is no URL"),
        ("file://host/folder", "names no folder of this machine"),
        ("az://container/night", "adlfs is not installed. Install adlfs"),
    ],
)
def test_a_place_where_no_parts_can_be_kept_is_refused_in_one_line(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERNIGHT_PARTS_URL", url)
    with pytest.raises(OvernightError) as refused:
        Settings.from_env()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_parts_in_the_home_need_nothing_of_fsspec() -> None:
    code = "import sys; import overnight.parts, overnight.settings as s; s.Settings.from_env().parts\n"
    code += "print([name for name in ('fsspec', 'upath', 's3fs') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
