"""The approving desk: a release is offered, people read it, an approval follows or does not."""

from overnight.approve.answers import Answers, find_answers, parse_answers
from overnight.approve.conclude import Decision
from overnight.approve.continued import find_continued, find_retried_before
from overnight.approve.decide import decide
from overnight.approve.draw import open_round
from overnight.approve.form import fill_form, name_field, read_form
from overnight.approve.held import find_held
from overnight.approve.identify import demands_code
from overnight.approve.offer import offer_release
from overnight.approve.policy import complete_policy
from overnight.approve.refusal import record_refusal
from overnight.approve.standing import find_standing

__all__ = [
    "Answers",
    "Decision",
    "complete_policy",
    "decide",
    "demands_code",
    "fill_form",
    "find_answers",
    "find_continued",
    "find_held",
    "find_retried_before",
    "find_standing",
    "name_field",
    "offer_release",
    "open_round",
    "parse_answers",
    "read_form",
    "record_refusal",
]
