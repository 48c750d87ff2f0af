"""bespokelabs-curator over the same texts, with its own cache of runs."""

from __future__ import annotations

import contextlib
import os
import sys
from types import SimpleNamespace
from typing import Any, Literal

os.environ |= {"CURATOR_CACHE_DIR": sys.argv[1], "TELEMETRY_ENABLED": "0", "CURATOR_DISABLE_RICH_DISPLAY": "1"}

import tiktoken  # type: ignore[import-not-found, unused-ignore]
from bespokelabs import curator  # type: ignore[import-not-found, unused-ignore]
from bespokelabs.curator.request_processor.online.openai_online_request_processor import (  # type: ignore[import-not-found, unused-ignore]
    OpenAIOnlineRequestProcessor,
)
from datasets import Dataset  # type: ignore[import-not-found, unused-ignore]
from pydantic import BaseModel

from benchmarks.meter import metered
from benchmarks.rows import CONCURRENCY, make_text, n_rows

#: Its encodings would be fetched from a server; the limits that it counts tokens for are out of reach here.
_ENCODING = SimpleNamespace(encode=lambda text, **_: range(len(text) // 4))
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: _ENCODING


# It would ask the model for another answer than the provider has, to see whether it follows a schema.
OpenAIOnlineRequestProcessor.check_structured_output_support = lambda _: True


class Answer(BaseModel):
    """The small structured answer."""

    sentiment: Literal["good", "bad", "neither"]
    word: str


class Sorter(curator.LLM):  # type: ignore[misc, unused-ignore]
    """The prompt."""

    response_format = Answer

    def prompt(self, row: dict[str, Any]) -> str:
        return f"Give the sentiment of the text, and its first word.\n<text>{row['text']}</text>"

    def parse(self, row: dict[str, Any], answer: Answer) -> dict[str, Any]:
        return {**row, **answer.model_dump()}


def main() -> None:
    """One call a row, unless its cache has the whole run."""
    texts = Dataset.from_list([{"text": make_text(n)} for n in range(n_rows())])
    sorter = Sorter(
        model_name="gpt-4o-mini",
        backend="openai",
        backend_params={
            "base_url": os.environ["OPENAI_BASE_URL"],
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "max_concurrent_requests": CONCURRENCY,
        },
    )
    # What it says of its progress is not what is read.
    with metered(), contextlib.redirect_stdout(sys.stderr):
        sorter(texts)


if __name__ == "__main__":
    main()
