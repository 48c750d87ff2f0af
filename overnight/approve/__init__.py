"""The approving desk: a release is offered, a person's answers are recorded, an approval follows or does not."""

from overnight.approve.answers import Answers, find_answers, parse_answers
from overnight.approve.decide import decide, find_held, find_standing, record_refusal
from overnight.approve.form import fill_form, name_field, read_form
from overnight.approve.offer import offer_release

__all__ = [
    "Answers",
    "decide",
    "fill_form",
    "find_answers",
    "find_held",
    "find_standing",
    "name_field",
    "offer_release",
    "parse_answers",
    "read_form",
    "record_refusal",
]
