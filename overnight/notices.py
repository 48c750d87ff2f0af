"""
Telling people, by apprise: mail, Slack, a webhook and some hundred more services.

What cannot be delivered stops nothing: it comes back as a line each for whoever logs, and in that line is no secret.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overnight.failures import OvernightError

if TYPE_CHECKING:
    from apprise import Apprise

#: How long all services together may take: they are told at the same time.
PATIENCE_S = 10.0
#: What a notice of each kind is to apprise, which some services show by a colour.
_TYPES = {
    "waiting": "info",
    "soon": "warning",
    "brief": "info",
    "skipped": "warning",
    "late": "warning",
    "unfollowed": "warning",
}
#: What a service may be called in a message; a URL without a scheme is not shown at all.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)


@dataclass(frozen=True)
class Notice:
    """What people are told: plain words, and nothing that a row says."""

    #: "waiting", "soon", "over", "held", "halted" or "brief"; of runs that did not go as planned "skipped", "late",
    #: "missing", "crashed", "lost", "asleep", "unfollowed", "unseen" or "doubt".
    kind: str
    title: str
    lines: tuple[str, ...]

    @property
    def body(self) -> str:
        """Its lines, each of which is one."""
        return "\n".join(" ".join(line.split()) for line in self.lines)


@dataclass(frozen=True)
class Told:
    """How telling people went."""

    #: Services that took the notice.
    n_reached: int
    #: One line a service that did not.
    warnings: tuple[str, ...]


def tell_people(notice: Notice, urls: Sequence[str], *, patience_s: float = PATIENCE_S) -> Told:
    """
    Tell the people behind the URLs, all at the same time.

    Args:
        notice: What they are told.
        urls: Apprise's.
        patience_s: How long it takes at the most: a service that is slower may still deliver it later.
    """
    deliveries = [_Delivery(notice, url, number) for number, url in enumerate(urls, 1)]
    for delivery in deliveries:
        delivery.start()
    deadline = time.monotonic() + patience_s
    for delivery in deliveries:
        delivery.join(max(0.0, deadline - time.monotonic()))
    warnings = [line for d in deliveries if (line := d.find_warning(patience_s))]
    return Told(len(deliveries) - len(warnings), tuple(warnings))


def refuse_malformed(urls: Sequence[str]) -> None:
    """
    See that apprise makes something of each URL.

    Raises:
        OvernightError: Of one it does not; the message shows its place and its scheme alone.
    """
    for number, url in enumerate(urls, 1):
        if _open(url) is None:
            raise OvernightError(
                f"The {name_service(url, number)} is no URL that apprise can use: its service is unknown here, or what"
                " it needs is missing. Correct it, as apprise describes the service, or take it out."
            )


def name_service(url: str, number: int) -> str:
    """A URL as a message may show it: its place in `OVERNIGHT_NOTIFY` and its scheme."""
    scheme = _SCHEME.match(url)
    return f"address {number} of OVERNIGHT_NOTIFY" + (f" ({scheme[1].lower()}://…)" if scheme else "")


class _Delivery(threading.Thread):
    """One notice on its way to one service; a service that hangs keeps neither the run nor the process."""

    def __init__(self, notice: Notice, url: str, number: int) -> None:
        super().__init__(name=f"notice-{number}", daemon=True)
        self._notice = notice
        self._address = name_service(url, number)
        self._service = _open(url)
        self._is_delivered = False

    def run(self) -> None:
        if self._service is not None:
            # Apprise catches what its services raise.
            kind = _TYPES.get(self._notice.kind, "failure")
            self._is_delivered = bool(
                self._service.notify(self._notice.body, title=self._notice.title, notify_type=kind, body_format="text")
            )

    def find_warning(self, patience_s: float) -> str | None:
        """Why it was not delivered, where it was not."""
        # Asked before the result is read: what ends between the two counts as delivered, not as refused.
        is_slow = self.is_alive()
        if self._is_delivered:
            return None
        why = f"not within {patience_s:g} s" if is_slow else "it was refused, or its host was not reached"
        return (
            f'The notice "{self._notice.title}" was not delivered to {self._address}: {why}.'
            " Look at the address, and whether OVERNIGHT_ONLY_HOSTS lets it be reached."
        )


def _open(url: str) -> Apprise | None:
    """Apprise with this one service, or None where the URL is none of a service that works here."""
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - late: only who is to tell somebody needs it

    # It logs what services answered, which is not for the log of a run.
    logging.getLogger("apprise").propagate = False
    # Its logo would be fetched from a host that nobody named.
    asset = AppriseAsset(
        app_id="overnight", app_desc="overnight", app_url="", image_url_mask="", image_url_logo="", secure_logging=True
    )
    service = Apprise.instantiate(url, asset=asset)
    if service is None:
        return None
    opened = Apprise(asset=asset)
    opened.add(service)
    return opened
