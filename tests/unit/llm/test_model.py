from __future__ import annotations

import pytest

from overnight.failures import ModelRefused
from overnight.llm import ModelRef, check_ready, endpoint_of, local, parse_model

OPENAI = ModelRef("openai", "gpt-fake")
ANTHROPIC = ModelRef("anthropic", "claude-fake")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("provider", ["local", "openai", "anthropic"])
def test_a_model_is_split_at_its_first_colon(provider):
    model = parse_model(f"{provider}:some/name:7b")
    assert model == ModelRef(provider, "some/name:7b")
    assert str(model) == f"{provider}:some/name:7b"


@pytest.mark.parametrize("ref", ["", "gpt-5", "openai:", "openai: ", ":x", "gemini:x", "OpenAI:x"])
def test_an_unknown_provider_is_refused_with_those_that_exist(ref):
    with pytest.raises(ModelRefused, match="local, openai, anthropic"):
        parse_model(ref)


def test_endpoints_default_to_the_providers():
    assert endpoint_of(OPENAI) == "https://api.openai.com/v1"
    assert endpoint_of(ANTHROPIC) == "https://api.anthropic.com"


def test_a_base_url_is_read_from_the_environment_without_its_trailing_slash(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1/")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "")
    assert endpoint_of(OPENAI) == "http://127.0.0.1:8000/v1"
    assert endpoint_of(ANTHROPIC) == "https://api.anthropic.com"


@pytest.mark.parametrize(
    "url", ["api.openai.com/v1", "ftp://host/v1", "https://", "https://user:pass@host/v1", "https://h/v1?key=x"]
)
def test_a_base_url_that_could_carry_a_secret_or_is_none_is_refused(monkeypatch, url):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ModelRefused, match="OPENAI_BASE_URL") as caught:
        endpoint_of(OPENAI)
    assert "pass" not in str(caught.value).replace("password", "")


def test_the_local_endpoint_is_the_hash_of_the_file():
    assert endpoint_of(ModelRef("local", "smollm2-135m")) == f"sha256:{local.MODEL_SHA256}"


@pytest.mark.parametrize(("model", "variable"), [(OPENAI, "OPENAI_API_KEY"), (ANTHROPIC, "ANTHROPIC_API_KEY")], ids=str)
def test_a_missing_key_is_refused_by_name(model, variable):
    with pytest.raises(ModelRefused, match=variable):
        check_ready(model)


def test_a_server_of_ones_own_may_do_without_a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    check_ready(OPENAI)


def test_a_key_that_cannot_stand_in_a_header_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc\ndef")
    with pytest.raises(ModelRefused) as caught:
        check_ready(OPENAI)
    assert "sk-abc" not in str(caught.value)


def test_an_unknown_local_model_is_refused():
    with pytest.raises(ModelRefused, match="smollm2-135m"):
        check_ready(ModelRef("local", "llama-70b"))
