"""How a run asks its rows: one by one, or in provider batches, and by when."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from overnight.failures import ModelRefused, OvernightError
from overnight.llm import ModelRef, parse_model
from overnight.records import Mode, Prompt
from overnight.settings import Settings


def has_batches(model: ModelRef) -> bool:
    """Whether its provider answers requests in batches."""
    return model.provider != "local"


def resolve_mode(prompt: Prompt, model: str | None, settings: Settings) -> tuple[Mode, str | None]:
    """
    How the prompt is asked, and by when, HH:MM: as the settings say, else as its front matter does.

    A prompt whose front matter says "batch" is asked online where the model that it is run with has no batches. A
    time is for batches: one that the settings say holds for those prompts of a flow that are asked so.

    Args:
        prompt: What is asked.
        model: PROVIDER:NAME; None: the prompt's own.
        settings: What `--mode` and `--by`, or the environment, say.

    Raises:
        ModelRefused: The settings demand batches, and the model has none.
    """
    reference = parse_model(model or prompt.model)
    check_manner(reference, settings)
    wanted = Mode(settings.mode or prompt.mode)
    if wanted is Mode.ONLINE or not has_batches(reference):
        return Mode.ONLINE, None
    return Mode.BATCH, settings.by or prompt.by


def check_manner(model: ModelRef | None, settings: Settings) -> None:
    """
    Refuse batches where there are none, as far as it is known.

    Args:
        model: Who would be asked; None: not known yet.
        settings: What `--mode`, or the environment, says.

    Raises:
        ModelRefused: The settings demand batches, and the model has none.
    """
    if model and settings.mode == Mode.BATCH and not has_batches(model):
        raise ModelRefused(
            f"{model} has no batches: it answers on this machine, call by call. Leave out --mode batch"
            " (OVERNIGHT_MODE), or choose another --model."
        )


def refuse_time_online(mode: str | None, by_time: str | None) -> None:
    """
    Refuse a time that the same command says nothing for; one of the environment is for other runs.

    Args:
        mode: What `--mode` says.
        by_time: What `--by` says.

    Raises:
        OvernightError: It names a time, and has all rows asked online.
    """
    if by_time and mode == Mode.ONLINE:
        raise OvernightError(
            f"--by {by_time} is for batches, and --mode online has the rows asked online. Leave one of them out."
        )


def find_by_at(by: str, now: float) -> float:
    """
    The next time that a clock here shows HH:MM, in seconds since the epoch.

    A time that a clock change leaves out is as long after midnight as on other days; of one that comes twice, the
    next is meant.
    """
    at, today = time.fromisoformat(by), datetime.fromtimestamp(now).astimezone().date()
    days = (datetime.combine(today + timedelta(days=n), at) for n in range(3))
    return next(moment for day in days for fold in (0, 1) if (moment := day.replace(fold=fold).timestamp()) > now)
