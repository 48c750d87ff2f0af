"""The rows and the prompt that every figure uses: texts of about 300 characters, a small structured answer."""

from __future__ import annotations

import csv
import os
from pathlib import Path

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
CHECKS = '{"row": [], "batch": []}'

#: Calls in flight.
CONCURRENCY = 64


def n_rows() -> int:
    """Rows of each figure."""
    return int(os.environ.get("BENCH_ROWS", "2000"))


def write_source(path: Path) -> None:
    """A CSV file of distinct rows."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows([n, f"{n}: " + "the quick brown fox jumps over the lazy dog " * 7] for n in range(n_rows()))
