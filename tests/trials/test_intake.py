"""Hostile sources: each is refused by name or costs its own rows, in one line, in little memory; no row is lost."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from overnight.failures import PromptRefused
from overnight.prompts import load_prompt
from tests.trials.conftest import pick
from tests.trials.reader import Read, read_apart

MOST_MB = 500
N_BIG, BIG = pick(short=12, long=40), "x" * 5_000_000
Say = Callable[[str], None]


@pytest.fixture
def read(tmp_path: Path, say: Say) -> Callable[..., Read]:
    """Reads a file of these bytes in a process of its own; whatever comes of it, it is short and in little memory."""
    home = tmp_path / "home"
    home.mkdir()

    def read_(name: str, data: bytes | None = None, **options: Any) -> Read:
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        found = read_apart(str(path), home, **options)
        say(f"{name}: {found.refused or found.rows} with {found.peak_mb:.0f} MB at the most")
        assert found.peak_mb < MOST_MB
        assert found.said == ""
        assert "\n" not in found.refused
        return found

    return read_


def write_lines(*lines: str | bytes) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)


def make_rows(kind: str, texts: list[str]) -> bytes:
    """Rows with ids from 1."""
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts, 1)]
    if kind == "jsonl":
        return write_lines(*map(json.dumps, rows))
    if kind == "csv":
        return write_lines("id,text", *(f"{row['id']},{row['text']}" for row in rows))
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer, compression="zstd", row_group_size=4)
    return buffer.getvalue().to_pybytes()


KINDS = ["csv", "jsonl", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_5_mb_are_read(read: Callable[..., Read], kind: str) -> None:
    # Of the same letter, they would be refused as a bomb.
    texts = [random.Random(n).randbytes(2_500_000).hex() for n in range(N_BIG)]  # noqa: S311 - no secret
    found = read(f"big.{kind}", make_rows(kind, texts))
    assert (found.refused, found.rows) == ("", {"": N_BIG})


def test_more_large_rows_in_one_row_group_than_fit_into_memory_are_refused(
    read: Callable[..., Read], tmp_path: Path
) -> None:
    texts = [random.Random(n).randbytes(2_500_000).hex() for n in range(20)]  # noqa: S311 - no secret
    pq.write_table(pa.table({"id": range(20), "text": texts}), tmp_path / "big.parquet", compression="zstd")
    assert "which are not read in little memory" in read("big.parquet").refused


TOO_MANY = "big.csv cannot be read as CSV at row 2: it has more than 16777216 characters"


@pytest.mark.parametrize("letter", ["x", "\U0001f600"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_past_the_bound_is_named(read: Callable[..., Read], kind: str, letter: str) -> None:
    found = read(f"big.{kind}", make_rows(kind, ["a", letter * 17_000_000, "c"]))
    if kind == "csv":
        assert TOO_MANY in found.refused
    elif kind == "parquet" and letter != "x":  # 68 MB of a few hundred bytes
        assert "as no dataset does" in found.refused
    else:
        assert found.rows == {"": 2, "too_large": 1}


def test_rows_of_emoji_up_to_the_bound_are_read(read: Callable[..., Read]) -> None:
    line = b'{"id":3,"text":"' + "\U0001f600".encode() * 4_190_000 + b'"}'
    assert read("big.jsonl", write_lines(make_rows("jsonl", ["a", "b"]), line)).rows == {"": 3}
    assert read("big.csv", make_rows("csv", ["a", "\U0001f600" * 16_700_000, "c"])).rows == {"": 3}


BAD = {
    "bad UTF-8": ({"csv": b"2,\xff\xfe", "jsonl": b'{"id":"2","text":"\xff\xfe"}'}, "undecodable"),
    "NUL": ({"csv": b"2,a\0b", "jsonl": b'{"id":"2","text":"a\\u0000b"}'}, "undecodable"),
    "a lone surrogate": ({"csv": b"2,\xed\xa0\x80", "jsonl": b'{"id":"2","text":"\\udc00"}'}, "undecodable"),
    "NaN": ({"jsonl": b'{"id":"2","text":NaN}'}, "undecodable"),
    "a duplicate id": ({"csv": b"1,b", "jsonl": b'{"id":1,"text":"b"}'}, "duplicate_id"),
    "no id": ({"csv": b",b", "jsonl": b'{"id":"","text":"b"}'}, "empty_id"),
    "no value": ({"csv": b"2,", "jsonl": b'{"id":"2"}'}, "missing_value"),
    "a cell too many": ({"csv": b"2,b,c", "jsonl": b'{"id":"2","text":"b","text":"c"}'}, "ragged_row"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_hostile_row_costs_itself_behind_a_byte_order_mark_too(read: Callable[..., Read], bad: str) -> None:
    forms, failure_class = BAD[bad]
    good = {
        "csv": (b"\xef\xbb\xbfid,text", b"1,a", b"3,c"),
        "jsonl": (b"\xef\xbb\xbf", b'{"id":1,"text":"a"}', b'{"id":3,"text":"c"}'),
    }
    for kind, row in forms.items():
        head, first, last = good[kind]
        assert read(f"rows.{kind}", write_lines(head, first, row, last)).rows == {"": 2, failure_class: 1}


def test_hostile_cells_of_parquet_cost_their_rows(read: Callable[..., Read], tmp_path: Path) -> None:
    texts = [b"a", b"\xff", b"a\0b", b"\xed\xa0\x80", b"", None, b"a", b"a"]
    ids = ["1", "2", "3", "4", "5", "6", "1", None]
    pq.write_table(
        pa.table({"id": ids, "text": pa.array(texts, pa.binary()).view(pa.string())}), tmp_path / "r.parquet"
    )
    found = read("r.parquet")
    assert found.rows == {"": 1, "undecodable": 3, "missing_value": 2, "duplicate_id": 1, "empty_id": 1}
    pq.write_table(pa.table({"id": ["1", "2"], "text": [1.0, float("nan")]}), tmp_path / "nan.parquet")
    assert read("nan.parquet").rows == {"": 1, "missing_value": 1}


@pytest.mark.parametrize("kind", [*KINDS, "csv.gz", "jsonl.zst"])
@pytest.mark.parametrize("data", [b"", b"\0" * 100_000, bytes(range(256)) * 400, b"PK\3\4" + bytes(1000)])
def test_what_is_no_dataset_is_refused_or_set_aside_whole(read: Callable[..., Read], kind: str, data: bytes) -> None:
    found = read(f"rows.{kind}", data)
    assert found.refused or kind == "jsonl"
    assert "" not in found.rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_column_is_refused_with_those_that_are_there(read: Callable[..., Read], kind: str) -> None:
    found = read(f"rows.{kind}", make_rows(kind, ["a"]), id_column="key")
    assert "has no column 'key'" in found.refused
    assert "it has 'id', 'text'" in found.refused


BOMB = pick(short=2**28, long=2**33)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize(
    "unit", pick(short=[b"x" * 2**20], long=[b"x" * 2**20, b"\n" * 2**20]), ids=lambda unit: ascii(unit[:1])
)
def test_a_zip_bomb_is_refused(read: Callable[..., Read], tmp_path: Path, kind: str, suffix: str, unit: bytes) -> None:
    path = tmp_path / f"bomb.{kind}.{suffix}"
    with gzip.open(path, "wb", 1) if suffix == "gz" else zstandard.open(path, "wb") as file:
        for _ in range(BOMB // len(unit)):
            file.write(unit)
    found = read(path.name)
    assert "expands more than 200-fold" in found.refused or "it has more than" in found.refused
    assert found.rows == {}


def write_parquet(path: Path, text: Any, n_rows: int, **options: Any) -> None:
    table = pa.table({"id": pa.array(range(n_rows)), "text": text})
    pq.write_table(table, path, compression="zstd", **options)


def test_a_dictionary_that_expands_is_read_in_little_memory(read: Callable[..., Read], tmp_path: Path) -> None:
    n_rows = pick(short=40, long=400)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), pa.array([BIG]))
    write_parquet(tmp_path / "r.parquet", texts, n_rows)
    assert (tmp_path / "r.parquet").stat().st_size < 50_000
    assert read("r.parquet").rows == {"": n_rows}


def test_a_list_of_dictionary_values_that_expands_is_read_in_little_memory(
    read: Callable[..., Read], tmp_path: Path
) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 40, pa.int32()), pa.array([BIG[:1_000_000]]))
    lists = pa.ListArray.from_arrays(pa.array(range(0, 41, 2), pa.int32()), values)
    write_parquet(tmp_path / "r.parquet", lists, 20)
    assert read("r.parquet").rows == {"": 20}


def test_a_column_that_expands_beyond_measure_is_refused(read: Callable[..., Read], tmp_path: Path) -> None:
    one = pa.array(["x" * 2**27] * pick(short=2, long=12), pa.large_string())
    write_parquet(tmp_path / "r.parquet", one, len(one), use_dictionary=False, write_statistics=False)
    assert "as no dataset does" in read("r.parquet").refused


def test_a_list_of_a_hundred_million_nothings_is_refused(read: Callable[..., Read], tmp_path: Path) -> None:
    n = 100_000_000
    nothings = pa.Array.from_buffers(pa.int8(), n, [None, pa.py_buffer(bytes(n))])
    lists = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), nothings)
    write_parquet(tmp_path / "r.parquet", lists, 1)
    assert "as no dataset does" in read("r.parquet").refused


def test_a_million_repeated_rows_of_a_few_kilobytes_are_rows_like_others(
    read: Callable[..., Read], tmp_path: Path
) -> None:
    pq.write_table(pa.table({"text": pa.array(["x" * 1000] * 200_000)}), tmp_path / "r.parquet")
    assert read("r.parquet", id_column="").rows == {"": 100_000}


OUT = [
    "../../x",
    "/etc/passwd",
    "a/../../b",
    "..",
    "~root",
    "$(touch x)",
    "con\\..\\x",
    "file:///etc/passwd",
    "{{7*7}}",
]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_id_that_looks_like_a_path_is_an_id(read: Callable[..., Read], tmp_path: Path, kind: str) -> None:
    objects = [json.dumps({"id": name, "text": name}) for name in OUT]
    lines = objects if kind == "jsonl" else ["id,text", *(f'"{name}","{name}"' for name in OUT)]
    assert read(f"rows.{kind}", write_lines(*lines)).row_ids == OUT
    assert {path.name for path in tmp_path.iterdir()} == {"home", f"rows.{kind}"}
    written = [path.relative_to(tmp_path / "home").parts for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert written
    # Whatever a row says, a part is named by the digest of its bytes.
    assert all(parts[0] == "parts" and len(parts[2]) == 64 + len(".parquet") for parts in written)


def test_a_file_of_a_folder_that_leads_out_of_it_is_refused(read: Callable[..., Read], tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "rows/..b.csv").write_text("id,text\n2,b\n")  # hidden
    assert read("rows").row_ids == ["1"]
    (tmp_path / "rows/passwd.csv").symlink_to("/etc/passwd")
    assert "is a link that leads out of" in read("rows").refused


@pytest.mark.parametrize("name", ["../secret", "..", "/etc", "a/../b", "\0", ""])
def test_a_prompt_s_name_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / "secret", tmp_path / "prompts" / "b"):
        folder.mkdir(parents=True)
        (folder / "prompt.md").write_text("---\nmodel: local:tiny\ninputs: [text]\n---\n{{ text }}")
    with pytest.raises(PromptRefused, match="There is no prompt"):
        load_prompt(name, tmp_path / "prompts")


LAUGHS = "\n".join(["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])
YAML = {
    "a tag": "parameters: !!python/object/apply:os.system [touch /tmp/owned]",
    "a name": "parameters: !!python/name:os.system",
    "billion laughs": "parameters:\n  " + LAUGHS.replace("\n", "\n  "),
    "a bottomless list": "parameters: " + "[" * 100_000,
    "no date": "parameters: {a: 2024-99-99}",
    "no UTF-8": "parameters: {a: \udcff}",
}


@pytest.mark.parametrize("hostile", YAML)
def test_hostile_front_matter_is_refused_on_one_line(tmp_path: Path, hostile: str) -> None:
    folder = tmp_path / "prompts" / "bad"
    folder.mkdir(parents=True)
    text = f"---\nmodel: local:tiny\ninputs: [text]\n{YAML[hostile]}\n---\n{{{{ text }}}}"
    (folder / "prompt.md").write_bytes(text.encode(errors="surrogateescape"))
    for name in ("output.schema.json", "checks.json"):
        (folder / name).write_text("{}")
    said = load_apart(folder.parent)
    assert said.startswith("Prompt 'bad', prompt.md: ")
    assert said.count("\n") == 1


def load_apart(folder: Path) -> str:
    """What a process says that loads the prompt, in little time and memory."""
    script = (
        "import resource, sys; from pathlib import Path; from overnight.failures import PromptRefused\n"
        "from overnight.prompts import load_prompt\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "try: load_prompt('bad', Path(sys.argv[1]))\n"
        "except PromptRefused as error: print(error)\n"
        "from tests.trials.reader import read_peak_mb\n"
        f"assert read_peak_mb() < {MOST_MB}\n"
    )
    command = [sys.executable, "-c", script, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize(
    ("source", "said"),
    [("rows.zip", "of no kind that can be read"), ("s3://ada:sesame@rows/a.csv", "holds a user or a password")],
)
def test_the_command_line_refuses_a_source_in_one_line(tmp_path: Path, source: str, said: str) -> None:
    command = [sys.executable, "-m", "overnight", "plan", "triage_tickets", "--source", source]
    environment = {**os.environ, "OVERNIGHT_HOME": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "sesame" not in ended.stderr + ended.stdout
