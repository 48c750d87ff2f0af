"""
A second bell, rung by Prefect's server itself: where a run's process was killed, its own code tells nobody.

Prefect has no block for apprise's URLs at large. Its Slack Webhook hands any URL that is not Slack's on to apprise as
it is, several of them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx

from overnight.failures import OvernightError
from overnight.nights import WITH_PROVIDER
from overnight.notices import refuse_malformed

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

#: The automation's name, and the block's.
NAME = "overnight: somebody is needed"
BLOCK = "overnight-people"
#: The tag of the deployments whose runs it is about.
TAG = "nightly"

_SUBJECT = "{{ flow_run.name }} is {{ flow_run.state.name }}"
# Not the state's message: Prefect puts the words of an error there that nobody foresaw, and they may be a row's.
_BODY = """Somebody is needed: {{ flow_run.name }} is {{ flow_run.state.name }}.
{% if flow_run|ui_url %}In Prefect: {{ flow_run|ui_url }}
{% endif %}`overnight runs` shows where each run stands."""


def put_bell(urls: Sequence[str]) -> None:
    """
    Have Prefect's server tell these people when a nightly run waits, failed or crashed; without any, nobody.

    The URLs are kept in a block of Prefect's: whoever may use its API can read them there.

    Raises:
        OvernightError: A URL is none, or Prefect's server does not take the block or the automation.
    """
    refuse_malformed(urls)
    from prefect.exceptions import PrefectHTTPStatusError  # noqa: PLC0415 - late: Prefect takes seconds

    try:
        if urls:
            _put_automation(_save_block(urls))
        else:
            _take_away()
    except (PrefectHTTPStatusError, httpx.HTTPError) as error:
        # Its words may be the request's, and those hold the URLs.
        raise OvernightError(
            f"Prefect's server did not take the automation {NAME!r} ({type(error).__name__}). Its log says why; without"
            " OVERNIGHT_NOTIFY it is not needed."
        ) from None


def _save_block(urls: Sequence[str]) -> UUID:
    from prefect.blocks.notifications import SlackWebhook  # noqa: PLC0415 - late: Prefect takes seconds
    from pydantic import SecretStr  # noqa: PLC0415 - the same

    return UUID(str(SlackWebhook(url=SecretStr(" ".join(urls))).save(BLOCK, overwrite=True)))


def _put_automation(block: UUID) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - late: Prefect takes seconds

    wanted = _make_automation(block)
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(NAME)
        if not found:
            client.create_automation(wanted)
        for automation in found:
            # Whoever switched it off in Prefect has it off.
            kept = wanted.model_copy(update={"enabled": automation.enabled})
            client.update_automation(automation.id, kept)


def _make_automation(block: UUID) -> AutomationCore:
    from prefect.events.actions import SendNotification  # noqa: PLC0415 - late: Prefect takes seconds
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture  # noqa: PLC0415 - the same
    from prefect.events.schemas.events import ResourceSpecification  # noqa: PLC0415 - the same

    # By the state's type: a run of ours that failed is named Held or Halted, and its event after that name.
    which = {"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": ["PAUSED", "FAILED", "CRASHED"]}
    # What waits for a provider needs nobody.
    which["prefect.state-message"] = f"!{WITH_PROVIDER}*"
    tagged = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
    return AutomationCore(
        name=NAME,
        description="People are told, by the addresses of OVERNIGHT_NOTIFY. `overnight up` keeps it as it is here.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification.model_validate(which),
            match_related=ResourceSpecification.model_validate(tagged),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[SendNotification(block_document_id=block, subject=_SUBJECT, body=_BODY)],
    )


def _take_away() -> None:
    from prefect.blocks.notifications import SlackWebhook  # noqa: PLC0415 - late: Prefect takes seconds
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - the same

    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(NAME)
        for automation in found:
            client.delete_automation(automation.id)
    if found:
        SlackWebhook.delete(BLOCK)
