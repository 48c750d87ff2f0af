"""The prompts of the project, their models' keys, and whether each model gives an answer of a schema."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from overnight.checks import parse_checks
from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.failures import CallFailed, OvernightError
from overnight.llm import (
    ModelRef,
    check_ready,
    cost_usd,
    endpoint_of,
    find_terms,
    make_client,
    make_validator,
    parse_answer,
    parse_model,
)
from overnight.prompts import load_prompt
from overnight.records import Ask, Prompt, Reply
from overnight.settings import Settings
from overnight.taxonomy import FailureClass

#: How long the probe may take; the embedded model has to be loaded first.
_PROBE_S = 60.0
_SCHEMA = (
    '{"type": "object", "additionalProperties": false, "required": ["colour"],'
    ' "properties": {"colour": {"enum": ["red", "green", "blue"]}}}'
)
#: Enough for a model that reasons first.
_MAX_TOKENS = 2000
_REMEDIES = {
    FailureClass.AUTH: "Copy the key anew, and see that it may use this model.",
    FailureClass.WRONG_MODEL: "Name the model that the provider serves.",
    FailureClass.SPEND_LIMIT: "Raise the limit at the provider, or pay its bill.",
    FailureClass.BAD_REQUEST: "See that the model knows structured output, or take another one.",
    FailureClass.SCHEMA_INVALID: "It does not keep to a schema: take another model, or a server that enforces it.",
    FailureClass.MALFORMED: "It does not keep to a schema: take another model, or a server that enforces it.",
}
_LATER = "Try again; where it stays, see the provider's status page and the address."


def look_at_prompts(folder: Path = Path("prompts")) -> tuple[list[Finding], list[Prompt]]:
    """Each prompt of the project, refused as a run would refuse it; those that can be read."""
    findings, read = [], []
    for name in sorted(path.parent.name for path in folder.glob("*/prompt.md")):
        try:
            prompt = load_prompt(name, folder)
            parse_checks(prompt.checks, prompt=name, code=prompt.code)
        except OvernightError as error:
            findings.append(fail(f"prompt {name}", str(error), ""))
            continue
        read.append(prompt)
    if read:
        findings.append(ok("prompts", ", ".join(prompt.name for prompt in read)))
    elif not findings:
        remedy = "Go to a project's folder, or make one: overnight init DIR"
        findings.append(fail("prompts", f"there is none in {folder.absolute()}", remedy))
    return findings, read


def look_at_models(prompts: Iterable[Prompt], settings: Settings, *, probes: bool) -> Iterator[Finding]:
    """Each model that the prompts name: its key, its price, and one small call for structured output."""
    models = {model: None for p in prompts for model in (p.model, p.stronger, p.fallback) if model}
    for name in models:
        try:
            model = parse_model(name)
            check_ready(model)
        except OvernightError as error:
            yield fail(f"model {name}", str(error), "")
            continue
        yield from _look_at_price(model, settings)
        yield _probe(model, settings) if probes else ok(f"model {name}", f"ready at {endpoint_of(model)}; not asked")


def _look_at_price(model: ModelRef, settings: Settings) -> Iterator[Finding]:
    reply = Reply(status=200, body=b"")
    if cost_usd(model, reply.usage, find_terms(settings.terms, str(model))) is not None:
        return
    remedy = f'Declare input_usd_per_million and output_usd_per_million under [tool.overnight.models."{model}"].'
    if settings.budget_usd is None and settings.nightly_budget_usd is None:
        yield warn(f"price of {model}", "not known: runs cannot say what they cost", remedy)
    else:
        yield fail(f"price of {model}", "not known, and there is a budget: runs refuse it", remedy)


def _probe(model: ModelRef, settings: Settings) -> Finding:
    what = f"model {model}"
    try:
        reply, seconds = asyncio.run(_ask(model))
        answer = parse_answer(reply, make_validator(_SCHEMA))
    except CallFailed as failure:
        return fail(what, str(failure), _REMEDIES.get(failure.failure_class, _LATER))
    except OvernightError as error:
        return fail(what, str(error), "")
    usd = cost_usd(model, reply.usage, find_terms(settings.terms, str(model)))
    price = "at an unknown price" if usd is None else f"for {usd:.6f} USD"
    tokens = f"{reply.usage.input_tokens} + {reply.usage.output_tokens} tokens {price}"
    said = f"answers by the schema ({answer['colour']}) in {seconds:.1f} s, {tokens}"
    if reply.model_served and reply.model_served != model.name:
        said += f", as {reply.model_served}"
    return ok(what, said)


async def _ask(model: ModelRef) -> tuple[Reply, float]:
    client = await make_client(model, endpoint=endpoint_of(model), timeout_s=_PROBE_S, concurrency=1)
    try:
        # The embedded model has been loaded by now: it is the answer that is timed.
        started = time.monotonic()
        ask = Ask(None, "What colour is grass? Answer in JSON.", json.loads(_SCHEMA), {"max_tokens": _MAX_TOKENS})
        reply = await client.send(client.encode(ask))
        return reply, time.monotonic() - started
    finally:
        await client.aclose()
