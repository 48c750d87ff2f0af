"""The rows and the prompt that every figure uses: texts of about 300 characters, a small structured answer."""

from __future__ import annotations

import os

PROMPT = """---
model: openai:bench
id: id
inputs: [text]
parameters: {max_tokens: 64}
---
{% block system %}Give the sentiment of the text, and its first word.{% endblock %}
{% block user %}<text>{{ text }}</text>{% endblock %}
"""
SCHEMA = """{"type": "object", "additionalProperties": false, "required": ["sentiment", "word"],
"properties": {"sentiment": {"enum": ["good", "bad", "neither"]}, "word": {"type": "string"}}}"""
#: The flow's batches are checked by this one rule; the engine alone has no batch checks.
CHECKS = """{"row": [], "batch": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "sentiment"},
"severity": "critical", "meta": {"reason": "A text without a sentiment says nothing."}}]}"""

#: Calls in flight.
CONCURRENCY = 64
#: How long the slow provider takes.
DELAY_S = 0.2


def n_rows() -> int:
    """Rows of most figures; the larger ones have ten times as many."""
    return int(os.environ.get("BENCH_ROWS", "2000"))


def make_text(n: int) -> str:
    """The text of row n: no two are the same."""
    return f"{n}: " + "the quick brown fox jumps over the lazy dog " * 7
