"""The figures of a night whose rows were accepted, refused, left pending and set aside at intake."""

from __future__ import annotations

import pytest

from overnight.ledger.runs import pin_model, pin_prompt
from overnight.records import Prompt
from overnight.report.measuring import list_asked_steps, measure_step
from overnight.report.profile import Rate
from tests.conftest import DATABASES, RUN, House
from tests.fakes.provider import FakeProvider


@pytest.fixture
def pinned(checked_night: House, fake: FakeProvider) -> Prompt:
    prompt = checked_night.make_prompt(endpoint=fake.openai_base_url)
    checked_night.ledger.write(lambda c: pin_prompt(c, RUN, prompt))
    checked_night.ledger.write(lambda c: pin_model(c, RUN, prompt))
    return prompt


@pytest.mark.parametrize("database", DATABASES)
def test_the_figures_of_a_step_are_those_of_its_attempts_and_rows(checked_night: House, pinned: Prompt) -> None:
    f = measure_step(RUN, 1, ledger=checked_night.ledger, place=checked_night.home).figures
    assert (f.prompt_name, f.prompt_hash, f.model) == ("sort", pinned.prompt_hash, "openai:gpt-fake")
    assert (f.n_rows, f.n_accepted, f.n_quarantined, f.n_pending) == (5, 2, 2, 1)
    assert (f.n_requests, f.n_attempts, f.n_calls, f.n_hits, f.hit_rate) == (4, 7, 7, 0, 0.0)
    assert f.set_aside == {"missing_value": 1, "refusal": 1}
    assert f.failure_classes == {"refusal": 1, "overload": 4}
    assert (f.n_refused, f.refusal_rate, f.n_server_errors, f.n_rate_limited) == (1, 0.25, 4, 0)
    assert (f.n_reasked, f.n_hedges, f.n_searched) == (0, 0, 2)
    assert f.calls_by_model == {"gpt-fake": 3}
    assert (f.cost_usd, f.cost_per_accepted_usd) == (None, None)
    assert f.input_tokens_per_request == f.input_tokens / 4
    assert f.output_tokens > 0
    assert f.latency_p50_s is not None
    assert f.latency_p99_s is not None
    assert 0 < f.latency_p50_s <= f.latency_p99_s


def test_the_rates_of_a_step_are_of_requests_and_not_of_attempts(checked_night: House, pinned: Prompt) -> None:
    rates = measure_step(RUN, 1, ledger=checked_night.ledger, place=checked_night.home).profile.rates
    assert rates["rate.failed.overload"] == Rate(1, 4)
    assert rates["rate.refusals"] == Rate(1, 4)
    assert rates["rate.quarantined"] == Rate(2, 5)


def test_the_cost_of_an_accepted_row_counts_failed_attempts(checked_night: House, pinned: Prompt) -> None:
    checked_night.tamper("UPDATE attempts SET cost_usd = 0.01")
    f = measure_step(RUN, 1, ledger=checked_night.ledger, place=checked_night.home).figures
    assert (f.cost_usd, f.cost_per_accepted_usd) == (pytest.approx(0.07), pytest.approx(0.035))


def test_a_step_is_asked_once_a_batch_of_it_is_and_checked_once_all_are(checked_night: House) -> None:
    with checked_night.ledger.reading() as connection:
        assert list_asked_steps(connection, RUN) == {1: True}
        assert list_asked_steps(connection, "another") == {}
