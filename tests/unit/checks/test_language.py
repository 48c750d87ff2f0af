import csv
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from overnight.checks.language import MIN_CHARS, find_language, find_other_language, list_languages

SAMPLES = Path(__file__).parents[3] / "data" / "samples"
SENTENCES = {
    "de": "Ihre Karte ist noch nicht angekommen, wir schicken Ihnen eine neue.",
    "fr": "Votre carte n'est pas encore arrivée, nous vous en envoyons une autre.",
    "es": "Su tarjeta aún no ha llegado, le enviamos una nueva.",
    "it": "La sua carta non è ancora arrivata, gliene inviamo una nuova.",
    "pt": "O seu cartão ainda não chegou, vamos enviar um novo.",
    "nl": "Uw kaart is nog niet aangekomen, we sturen u een nieuwe.",
    "en": "Your card has not arrived yet, so we are sending you another.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_told_from_every_other_language_and_not_from_its_own(code):
    assert [find_other_language(SENTENCES[code], other) for other in SENTENCES] == [
        None if other == code else code for other in SENTENCES
    ]
    assert find_language(SENTENCES[code]) == code


def read_english():
    with (SAMPLES / "queries.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def test_no_english_query_of_the_samples_is_taken_for_another_language():
    assert [text for text in read_english() if find_other_language(text, "en")] == []
    assert {find_language(text) for text in read_english()} <= {"en", None}


def test_a_short_text_passes():
    text = SENTENCES["de"]
    assert find_other_language(text[: MIN_CHARS - 1] + " " * MIN_CHARS, "en") is None
    assert find_other_language("", "en") is None
    assert find_language("Guten Tag") is None


@pytest.mark.parametrize("text", ["4711 0815 12.50 EUR 2026-11-23 17:30", "https://example.com/a/b?c=d&e=f#ghi"])
def test_what_is_no_language_passes(text):
    assert find_other_language(text, "en") is None


def test_threads_share_the_model():
    texts = [*SENTENCES.values(), *read_english()[:50]] * 5
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: find_other_language(text, "de"), texts))
    assert found == [find_other_language(text, "de") for text in texts]


def test_the_languages_have_their_iso_codes():
    assert set(SENTENCES) < list_languages()
    assert "zxx" not in list_languages()


def test_the_model_is_not_imported_before_a_rule_needs_it():
    code = "import sys, overnight.checks; sys.exit('py3langid' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
