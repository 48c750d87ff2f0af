"""The OpenAPI document says what the server does: schemathesis holds the one against the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from tests.unit.serve.conftest import Front


def test_every_request_that_the_document_lets_somebody_make_is_answered_as_it_says(
    front: Front, ada: httpx.Client, tmp_path: Path
) -> None:
    # Its command: the plugin would make every start of pytest slower, and leaves the stateful phase out.
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{front.url}/openapi.json"]
    command += ["--header", f"Authorization: {ada.headers['authorization']}", "--checks", "all", "--no-color"]
    command += ["--max-examples", "10", "--seed", "1", "--suppress-health-check", "all", "--workers", "2"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert "3 selected / 3 total" in ended.stdout
    [(n_kept,)] = front.house.fetch("SELECT count(*) FROM inbox")
    assert n_kept > 5


def test_each_prompt_has_a_path_with_the_fields_of_its_rows(front: Front, ada: httpx.Client) -> None:
    paths = ada.get("/openapi.json").json()["paths"]
    assert sorted(paths) == ["/v1/health", "/v1/requests/sort", "/v1/requests/{prompt}/{key}"]
    content = paths["/v1/requests/sort"]["post"]["requestBody"]["content"]
    row = content["application/json"]["schema"]["properties"]["row"]
    assert (sorted(row["properties"]), row["required"]) == (["body", "id", "note"], ["id", "body"])


def test_a_prompt_that_cannot_be_read_is_not_in_it(front: Front, ada: httpx.Client) -> None:
    (front.prompts / "sort" / "checks.json").write_text("{")
    answer = ada.get("/openapi.json")
    assert (answer.status_code, "/v1/requests/sort" in answer.json()["paths"]) == (200, False)
