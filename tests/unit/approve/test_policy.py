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
        ("expires_h", -1),
    ],
)
def test_a_value_that_no_review_can_have_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(OvernightError, match=rf"ReviewPolicy\({name}=.*{name} is ") as caught:
        _complete(ReviewPolicy(**{name: value}))
    assert "\n" not in str(caught.value)


def test_with_a_share_of_none_every_row_is_read(house: House) -> None:
    release = house.offer(120, max_bad_share=0.0)
    assert len(release.items) == 120 + release.n_seeds
    approval = house.approve(release)
    assert (approval.n_allowed, approval.n_held) == (120, 0)


def test_the_policy_that_was_offered_is_the_one_that_is_kept(house: House) -> None:
    assert house.offer(40, confidence=0.99).policy == house.complete(ReviewPolicy(confidence=0.99, n_reviewers=1))
