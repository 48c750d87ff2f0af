"""
The embedded model's server, run as `python -m overnight.llm.local_server` by `overnight.llm.local`.

Reads one JSON line from stdin, prints the server's address as one line, and ends when stdin closes.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Serve until the parent closes stdin or dies."""
    order = json.loads(sys.stdin.readline())
    # What the library prints goes to stderr: stdout carries the address and nothing else.
    answers = os.dup(1)
    os.dup2(2, 1)
    import xllamacpp  # type: ignore[import-untyped] # noqa: PLC0415 - it ships no types, and may print as it loads

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = order["gguf"], {order["alias"]}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [order["key"]]
    params.n_parallel, params.n_ctx = 1, order["context_tokens"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = order["threads"]
    params.ui, params.offline, params.fit_params, params.verbosity = False, True, False, 0
    # The default keeps 8 GB of prompts.
    params.cache_ram_mib = 0
    server = xllamacpp.Server(params)
    os.write(answers, f"{server.listening_address}\n".encode())
    sys.stdin.read()
    # The server holds nothing worth closing, and an answer in the making must not delay the end.
    os._exit(0)


if __name__ == "__main__":
    main()
