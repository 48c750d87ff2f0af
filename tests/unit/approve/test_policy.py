from __future__ import annotations

from typing import Any

import pytest

from overnight.approve import complete_policy
from overnight.failures import OvernightError
from overnight.records import ReviewPolicy
from tests.conftest import House


def _complete(policy: ReviewPolicy | None = None, effect: str = "reversible") -> ReviewPolicy:
    return complete_policy(policy, effect, waits_s=86_400.0, approval_s=7200.0)


def test_what_cannot_be_undone_is_read_more_closely_and_by_two() -> None:
    lax, strict = _complete(), _complete(effect="irreversible")
    assert lax == ReviewPolicy(0.95, 0.10, 3, 1, waits_d=1.0, expires_h=2.0)
    assert strict == ReviewPolicy(0.95, 0.05, 3, 2, waits_d=1.0, expires_h=2.0)


def test_a_flow_decides_what_it_names_and_the_defaults_the_rest() -> None:
    policy = _complete(ReviewPolicy(max_bad_share=0.02, waits_d=0.5), "irreversible")
    assert policy == ReviewPolicy(0.95, 0.02, 3, 2, waits_d=0.5, expires_h=2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("confidence", v) for v in (0.4, 1.0, "high", True, float("nan"))),
        *(("max_bad_share", v) for v in (-0.1, 1.0, 5)),
        *(("n_seeds", v) for v in (0, 21, 2.0)),
        *(("n_reviewers", v) for v in (0, 11, True)),
        *(("waits_d", v) for v in (0, float("inf"))),
        *(("waits_d", v) for v in (3651, 1e9)),
        *(("expires_h", v) for v in (-1, 87_601, 1e9, float("inf"))),
    ],
)
def test_a_value_that_no_review_can_have_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(OvernightError, match=rf"ReviewPolicy\({name}=.*{name} is ") as caught:
        _complete(ReviewPolicy(**{name: value}))
    assert "\n" not in str(caught.value)


def test_ten_years_are_the_longest_time() -> None:
    policy = _complete(ReviewPolicy(waits_d=3650, expires_h=87_600))
    assert (policy.waits_d, policy.expires_h) == (3650, 87_600)


def test_a_time_that_is_too_long_is_told_where_it_stands() -> None:
    with pytest.raises(OvernightError, match=r"expires_h is from 0 to 87,600 hours\. Correct it in the flow"):
        _complete(ReviewPolicy(expires_h=1e9))
    with pytest.raises(OvernightError, match=r"waits_d is .* 3,650 days\. Correct it in OVERNIGHT_WAITS_S"):
        complete_policy(ReviewPolicy(expires_h=1), "reversible", waits_s=1e12, approval_s=7200.0)
    with pytest.raises(OvernightError, match=r"expires_h is .* Correct it in OVERNIGHT_APPROVAL_S"):
        complete_policy(None, "reversible", waits_s=1.0, approval_s=1e12)


def test_with_a_share_of_none_every_row_is_read(house: House) -> None:
    approval = house.approve(house.offer(120, max_bad_share=0.0))
    assert (approval.n_allowed, approval.n_held) == (120, 0)
    assert house.fetch("SELECT count(DISTINCT delivery_key) FROM verdicts") == [(120,)]


def test_the_policy_that_was_offered_is_the_one_that_is_kept(house: House) -> None:
    assert house.offer(40, confidence=0.99).policy == house.complete(ReviewPolicy(confidence=0.99, n_reviewers=1))
