"""Four nights of a bank's questions: the provider changes on the third, and what is asked on the fourth."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from overnight import checks
from overnight.checks import parse_checks
from overnight.complete import Engine, resolve_prompt
from overnight.intake import read_batches
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.parts import read_part
from overnight.prompts import parse_prompt
from overnight.records import BatchVerdict, CheckedBatch, Prompt
from tests.conftest import House
from tests.fakes.provider import Scripted
from tests.trials.night import Night

#: What the questions are about, and words for each in English and in Spanish.
TOPICS = {
    "card_arrival": ("my new card has still not arrived", "mi nueva tarjeta todavía no ha llegado"),
    "lost_card": ("I have lost my card on the way home", "he perdido mi tarjeta de camino a casa"),
    "change_pin": ("I want to change the PIN of my card", "quiero cambiar el código secreto de mi tarjeta"),
    "exchange_rate": ("the exchange rate of my payment was wrong", "el tipo de cambio de mi pago era incorrecto"),
    "top_up_failed": ("my top up did not go through again", "mi recarga no se ha completado otra vez"),
    "refund": ("I would like my money back from this shop", "quiero que esta tienda me devuelva el dinero"),
    "transfer_timing": ("how long will the transfer to my sister take", "cuánto tarda la transferencia a mi hermana"),
    "identity": ("why do you want to verify who I am", "por qué quieren verificar mi identidad ahora"),
}
CHANNELS = ("app", "web", "mail", "phone")
_TEXT = "---\nmodel: openai:gpt-fake\nid: id\ninputs: [text, channel]\nparameters: {max_tokens: 300}\n---\n"
_TEMPLATE = "Sort this question that came by {{ channel }}: <query>{{ text }}</query>"


def make_rows(n: int, night: int, *, shifts: bool = False) -> list[dict[str, str]]:
    """The questions of a night, none of which another night has."""
    dice = random.Random(night)  # noqa: S311 - a trial's dice
    return [_make_row(f"n{night}q{at}", dice, shifts=shifts) for at in range(n)]


def _make_row(row_id: str, dice: random.Random, *, shifts: bool) -> dict[str, str]:
    topic, is_spanish = dice.choice(list(TOPICS)), shifts and dice.random() < 0.4
    words = TOPICS[topic][is_spanish]
    polite = "Buenos días, " if is_spanish else dice.choice(["", "Hello, ", "Please help, ", "Good evening, "])
    more = (" y nadie me contesta desde hace días" if is_spanish else " and nobody has answered me for days") * shifts
    channel = dice.choice(CHANNELS[: 3 if shifts else 4])
    return {"id": row_id, "text": f"{polite}{words}{more} ({row_id})", "channel": channel, "topic": topic}


@dataclass
class Sorter:
    """A provider that knows the topic of each question, and may change its ways."""

    topics: dict[str, str] = field(default_factory=dict)
    swallows: Mapping[str, str] = field(default_factory=dict)
    refuses: float = 0.0
    reason: str = "The customer says so: {}."

    def __call__(self, body: dict[str, Any]) -> dict[str, Any] | Scripted:
        text = str(body["messages"][-1]["content"])
        row_id = text.rpartition("(")[2].partition(")")[0]
        if int(hashlib.sha256(row_id.encode()).hexdigest()[:4], 16) < self.refuses * 0x10000:
            return Scripted(refusal="I must not speak of this.")
        topic = self.topics[row_id]
        words = " ".join(text.partition("<query>")[2].split()[: 3 + len(row_id) % 3])
        return {"intent": self.swallows.get(topic, topic), "reason": self.reason.format(words)}


class Lenient:
    """A validator without rules."""

    def validate(self, *_: Any, **__: Any) -> BatchVerdict:
        return BatchVerdict((), (), (), (), 0, None)


@dataclass(frozen=True)
class Nights:
    """One house over several nights of one flow."""

    house: House
    endpoint: str
    sorter: Sorter

    def work(self, run_id: str, rows: Sequence[Mapping[str, str]], **checks_file: Any) -> tuple[CheckedBatch, Prompt]:
        """A night's rows asked and checked, as its flow does it."""
        self.sorter.topics |= {row["id"]: row["topic"] for row in rows}
        prompt = self._pin_prompt(run_id, checks_file)
        [batch] = self._read(run_id, rows)
        with closing(Engine(self.house.settings, self.house.ledger)) as engine:
            [completed] = Night(self.house, engine, prompt, [batch], run_id).work().completed
        checked = checks.check_batch(
            completed,
            read_part(completed.part, self.house.home),
            parse_checks(prompt.checks, prompt=prompt.name),
            prompt.checks_hash,
            Lenient(),
            suite_name="route",
            docs_dir=self.house.home / "docs",
            place=self.house.home,
            home=self.house.home,
        )
        self.house.ledger.write(lambda c: record_part(c, f"check-{run_id}", checked, 1.0))
        for manifest in (batch, completed, checked):
            self.house.ledger.write(lambda c, m=manifest: record_batches(c, run_id, [m]))  # type: ignore[misc]
        return checked, prompt

    def approve(self, run_id: str, checked: CheckedBatch, prompt: Prompt) -> None:
        """A person lets the night's rows out."""
        self.house.approve(self.house.offer_checked([checked], prompt, run_id=run_id))

    def _pin_prompt(self, run_id: str, checks_file: Mapping[str, Any]) -> Prompt:
        self.house.begin(run_id)
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": ["intent", "reason"],
            "properties": {"intent": {"enum": list(TOPICS)}, "reason": {"type": "string"}},
        }
        file = json.dumps({"row": [], "batch": [], "max_quarantined": 0.2, **checks_file})
        parsed = parse_prompt("route", text=_TEXT + _TEMPLATE, schema=json.dumps(schema), checks=file)
        prompt = resolve_prompt(parsed, None, endpoint=self.endpoint)
        for write in (
            lambda c: record_prompt(c, prompt, 1.0),
            lambda c: pin_prompt(c, run_id, prompt),
            lambda c: pin_model(c, run_id, prompt),
        ):
            self.house.ledger.write(write)
        return prompt

    def _read(self, run_id: str, rows: Sequence[Mapping[str, str]]) -> list[Any]:
        source = self.house.home / f"{run_id}.csv"
        with source.open("w", newline="") as file:
            out = csv.DictWriter(file, ["id", "text", "channel"], extrasaction="ignore")
            out.writeheader()
            out.writerows(rows)
        inputs = ("text", "channel")
        return list(read_batches(str(source), id_column="id", inputs=inputs, optional_inputs=(), place=self.house.home))
