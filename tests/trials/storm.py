"""`python -m tests.trials.storm FROM TO HANG_S DELAY_S LOG`: a provider with a storm, in a process of its own."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path

from tests.fakes.provider import FakeProvider
from tests.trials.scripts import Script, make_storm


def main() -> None:
    """Serve until ended: the address on the first line, a JSON line a call in the log."""
    calls, hang_s, delay_s = range(int(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3]), float(sys.argv[4])
    script = Script(make_storm(calls, hang_s=hang_s, delay_s=delay_s))
    with FakeProvider(script, log=Path(sys.argv[5])) as fake, suppress(KeyboardInterrupt):
        print(fake.openai_base_url, flush=True)  # noqa: T201 - its one output
        threading.Event().wait()


main()
