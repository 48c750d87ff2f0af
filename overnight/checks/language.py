"""Which language a text is in, where that can be told."""

from __future__ import annotations

from functools import cache
from typing import Any

#: Shorter texts pass. Measured on the 3,080 queries of banking77, all English, whole and cut after 15 to 40 characters
#: (12,363 texts): with `MAX_OWN` none was taken for another language at any length, but with twice that figure 5 texts
#: under 30 characters were ("The ATM at Metro"), and none of the 6,155 from 30 on.
MIN_CHARS = 30
#: A text is in another language where its own has less than this probability. All of 71 sentences of 30 to 70
#: characters in German, French, Spanish, Italian, Portuguese and Dutch were told from English, none from its own.
MAX_OWN = 0.01
#: An input is in a language from this probability on; others pass. 64 of the 71 sentences were, and 7 of the 24 in
#: Spanish and Portuguese stayed in doubt: they share words with their neighbours. None of the 6,155 was called wrongly.
MIN_INPUT = 0.7
#: Numbers, markup and identifiers.
_NO_LANGUAGE = "zxx"


def list_languages() -> frozenset[str]:
    """The codes that can be told apart."""
    return frozenset(_load_identifier().labels) - {_NO_LANGUAGE}


def find_other_language(text: str, code: str) -> str | None:
    """The code of the language that the text is in instead of `code`; None where it is in that, or cannot be told."""
    ranking = _rank(text)
    if not ranking:
        return None
    found = next(iter(ranking))
    return found if found not in {code, _NO_LANGUAGE} and ranking[code] < MAX_OWN else None


def find_language(text: str) -> str | None:
    """The code of the language that the text is in; None where that cannot be told."""
    ranking = _rank(text)
    found = next(iter(ranking), _NO_LANGUAGE)
    return found if found != _NO_LANGUAGE and ranking[found] >= MIN_INPUT else None


def _rank(text: str) -> dict[str, float]:
    """The probability of each language, highest first; empty for a text that is too short."""
    text = text.strip()
    return dict(_load_identifier().rank(text)) if len(text) >= MIN_CHARS else {}


@cache
def _load_identifier() -> Any:
    """The model; it is only read from, so that threads can share it, and one loaded twice at once is the same."""
    # Half a second and 100 MB, for the prompts that need it.
    from py3langid.langid import (  # type: ignore[import-untyped]  # noqa: PLC0415 - see above
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
