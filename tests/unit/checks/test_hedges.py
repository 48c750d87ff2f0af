import csv
from pathlib import Path

import pytest

from overnight.checks.hedges import find_hedge

SAMPLES = Path(__file__).parents[3] / "data" / "samples"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I cannot assist with this request.",
        "I apologize, but I cannot fulfill this request.",
        "Sorry, I can't classify this.",
        "I'm sorry.",
        "I cannot",
        "I can't comply.",
        "As an AI language model, I do not have opinions.",
        "As an AI, I cannot feel.",
        "I'm just a language model.",
        "I'm an AI assistant and do not have access.",
        "not enough information",
        "Not enough information to decide.",
        "There is not enough information in the message.",
        "I do not have enough information to answer.",
        "Insufficient context",
        "The text does not provide enough information to classify.",
        "Unable to determine",
        "Unable to determine the category from the text.",
        "I am unable to determine the intent",
        "I cannot accurately summarise the text",
        "I'm not able to provide a summary.",
        "It is not possible to determine the label",
        "The category cannot be determined.",
        "Based on my training data, this is spam",
        "I don't know.",
        "N/A",
        "n/a.",
        " UNKNOWN ",
        '"none"',
    ],
)
def test_a_hedge_about_the_task_is_found(text):
    assert find_hedge(text, None)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that your card has not arrived.",
        "Dear Ms Lee, I am sorry for the delay. We cannot refund the fee, as it was charged by the machine's owner.",
        "I'm sorry, but I can't see a payment under this reference. Could you send me a screenshot?",
        "Unfortunately we are unable to process refunds after 30 days.",
        "As an AI company, we take privacy seriously.",
        "None of the payments has arrived.",
        "The status of the payment is unknown.",
        "Not sure why I was charged twice",
        "I don't know why my card was declined",
        "I apologise for the inconvenience this has caused.",
        "I was not able to find your order.",
        "We cannot help with payments made by cheque, but your bank can.",
        "Customer is unable to determine why the fee was charged.",
        "Customer says there was not enough information on the website.",
        "We are unable to offer a discount on this plan.",
        "I cannot identify the payment you mean.",
        "Your identity cannot be verified with this photo.",
        "We could not complete the request: your card has expired.",
        "The document you sent does not contain your full name.",
        "",
    ],
)
def test_what_a_letter_or_a_summary_may_say_passes(text):
    assert find_hedge(text, None) is None


@pytest.mark.parametrize(("name", "column"), [("queries.csv", "text"), ("tickets.csv", "body")])
def test_no_customer_of_the_samples_hedges(name, column):
    with (SAMPLES / name).open(encoding="utf-8", newline="") as file:
        texts = [row[column] for row in csv.DictReader(file)]
    assert [text for text in texts if find_hedge(text, None)] == []


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("no idea", "I have NO\nidea.", "no idea"),
        ("no idea", "There are no ideas", None),
        ("cannot", "I cannot", "cannot"),
        ("n/a?", "N/A? perhaps", "n/a?"),
        ("a.b", "axb", None),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t know", "I don't know", "don't know"),
    ],
)
def test_phrases_are_whole_words_whatever_their_case(phrase, text, found):
    assert find_hedge(text, ["something else", phrase]) == found
