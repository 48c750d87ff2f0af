"""`python -m benchmarks.peers`: the peers alone, as a table."""

from __future__ import annotations

from benchmarks.figures import print_figures, print_head
from benchmarks.peers.run import measure_peers
from benchmarks.serving import serving

if __name__ == "__main__":
    print_head()
    with serving() as provider:
        print_figures(measure_peers(provider))
