"""Opening a page that was written."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from overnight.failures import OvernightError


def open_page(path: Path) -> None:
    """
    Open it in the browser.

    Raises:
        OvernightError: There is none here.
    """
    if not webbrowser.open(path.absolute().as_uri()):
        raise OvernightError(f"No browser could be opened here. Open {path} yourself.")
