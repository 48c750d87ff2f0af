"""The template of a prompt: compiled once in a sandbox, checked when read, filled with values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from overnight.failures import PromptRefused
from overnight.prompts.refusals import refuse
from overnight.records import Prompt

_BLOCKS = {"system", "user"}


def render(prompt: Prompt, values: Mapping[str, Any]) -> tuple[str | None, str]:
    """
    Fill the template: (system, user). Values are values; a template in one stays text.

    Raises:
        PromptRefused: The template fails on these values.
    """
    template = _compile(prompt.template)
    try:
        if not template.blocks:
            return None, template.render(values).strip()
        context = template.new_context(dict(values))
        texts = {name: "".join(block(context)).strip() for name, block in template.blocks.items()}
    # Filters and operators of a template raise what Python raises for them.
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        why = " ".join(str(error).split())
        raise PromptRefused(
            f"The template of prompt {prompt.name!r} fails on a row ({why}). Mend it for values like that one's."
        ) from error
    return texts.get("system") or None, texts["user"]


def check_template(name: str, template: str, declared: set[str]) -> None:
    try:
        tree = _environment().parse(template)
        undeclared = sorted(meta.find_undeclared_variables(tree) - declared)
        _compile(template)
    except jinja2.TemplateSyntaxError as error:
        refuse(name, "prompt.md", f"the template fails at its line {error.lineno} ({error.message})", "Mend it there.")
    if undeclared:
        remedy = "Declare them in inputs or optional_inputs, or take them out."
        refuse(name, "prompt.md", f"the template uses {', '.join(undeclared)}, which is not declared", remedy)
    if any(True for _ in meta.find_referenced_templates(tree)):
        refuse(name, "prompt.md", "the template takes in another one", "A prompt is one text: write it out here.")
    _check_blocks(name, tree)


def _check_blocks(name: str, tree: nodes.Template) -> None:
    """Text outside the blocks would never be sent, and nobody would see that it was not."""
    blocks = {block.name for block in tree.find_all(nodes.Block)}
    if not blocks:
        return
    if "user" not in blocks or blocks - _BLOCKS or not all(map(_is_block_or_blank, tree.body)):
        remedy = "Put all text into {% block system %} and {% block user %}, or use no blocks at all."
        refuse(name, "prompt.md", "the template has other blocks, text outside them, or no block user", remedy)


def _is_block_or_blank(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Output):
        return all(isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes)
    return isinstance(node, nodes.Block)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    # autoescape off: the text goes to a model, which reads no HTML; escaping would change the row's words.
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
    # Nothing but the row decides the text: no range, lipsum or random, else one key would have many texts.
    environment.globals.clear()
    del environment.filters["random"]
    return environment


@lru_cache(maxsize=64)
def _compile(template: str) -> jinja2.Template:
    return _environment().from_string(template)
