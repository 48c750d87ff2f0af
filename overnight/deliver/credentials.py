"""
What a sink asks for, from a file that is read only for a verified approval.

The files lie in `OVERNIGHT_CREDENTIALS`, one named after each host, bucket or sink of the project. They are in no
environment, so that neither a flow nor what it starts inherits them.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from overnight.deliver.verify import Verified
from overnight.failures import ApprovalRefused, SinkRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import can_be_used, find_approval
from overnight.ledger.promises import find_promises
from overnight.payloads import kind_of
from overnight.settings import Settings


def resolve_credential(
    verified: Verified, due: Sequence[str], *, ledger: Ledger, settings: Settings, now: float
) -> str | None:
    """
    The credential of the approval's sink; None where there is no file for it.

    Args:
        verified: The approval.
        due: The states of rows that a consumed approval opens it for.
        ledger: Where both are recorded.
        settings: Where the files are.
        now: Seconds since the epoch.

    Raises:
        ApprovalRefused: It is over, or it was used up and its outbox has nothing to do with the sink any more.
        SinkRefused: The file cannot be read, or everybody can read it.
    """
    approval = verified.approval
    with ledger.reading() as connection:
        # Once more from the record: whose credential is opened is not for an object in hand to say.
        recorded = find_approval(connection, approval_id=approval.approval_id)
        is_live = can_be_used(connection, approval.approval_id, now)
        is_due = recorded and recorded.state == "consumed" and find_promises(connection, approval.approval_id, due)
    if recorded is None or recorded.sink != approval.sink or not (is_live or is_due):
        raise ApprovalRefused(
            f"The approval of release {approval.release_id} lets nothing out any more, so it opens no credential."
            f" Review run {approval.run_id} again."
        )
    name = _name_file(recorded.sink)
    return _read(settings.credentials / name) if name else None


def _name_file(sink: str) -> str | None:
    """The host, bucket, or the project's own name of a sink."""
    parts = urlsplit(sink)
    return parts.path if kind_of(sink) == "own" else parts.hostname


def _read(path: Path) -> str | None:
    try:
        if path.stat().st_mode & stat.S_IROTH:
            raise SinkRefused(f"Everybody on this machine can read the credential {path}. Do: chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SinkRefused(f"The credential {path} cannot be read ({why}). Mend the file.") from error
