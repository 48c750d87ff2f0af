"""What the pages tell people to type exists: commands, options, settings, units and the files that they name."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from overnight.cli.main import cli

_REPOSITORY = Path(__file__).parents[2]
_UNITS = _REPOSITORY / "docs/systemd"
_PAGES = [_REPOSITORY / "README.md", *sorted((_REPOSITORY / "docs").glob("*.md"))]

#: At the beginning of a line, after the script that sets the stage, or by its path.
_COMMAND = re.compile(r"^\s*(?:\$ )?(?:night |\S*/bin/)?overnight +(?P<words>[a-z].*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_SETTING = re.compile(r"OVERNIGHT_[A-Z][A-Z_]*[A-Z]")
#: What the package tells its own processes, or the tests tell it: nobody else sets these.
_INTERNAL = {
    "OVERNIGHT_FAILPOINT", "OVERNIGHT_NO_BROWSER", "OVERNIGHT_OFFERS_HELD", "OVERNIGHT_RUN_ID", "OVERNIGHT_WAIT",
}  # fmt: skip
#: Where the units expect what is installed from here.
_BIN, _SCRIPTS = "/srv/overnight/.venv/bin/", "/usr/local/bin/"


def _list_snippets(page: str) -> Iterator[str]:
    """What stands as code: lines of blocks, and pieces of a line."""
    in_block = False
    for line in page.splitlines():
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif in_block:
            # An error that is quoted may speak of a command; what follows a hash is for people.
            yield line.partition(" #")[0]
        else:
            yield from _join_cells(re.findall(r"`([^`]+)`", line), is_table=line.startswith("|"))


def _join_cells(pieces: list[str], *, is_table: bool) -> Iterator[str]:
    """In a table a command's options stand in the cell after it."""
    last = ""
    for piece in pieces:
        if is_table and piece.startswith("--") and last.startswith("overnight "):
            yield f"{last.split(' [', maxsplit=1)[0]} {piece}"
        else:
            last = piece
            yield piece


def _list_commands(page: str) -> Iterator[list[str]]:
    for snippet in _list_snippets(page):
        for part in re.split(r"&&|;|\|", snippet):
            if found := _COMMAND.search(part):
                yield found["words"].split()


def _find_fault(words: list[str]) -> str | None:
    """What of a command line is not in the tree."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.commands.get(rest[0].strip(",.:"))
        if found is None:
            # A group that does something by itself takes arguments too.
            return f"no command {rest[0]}" if command is cli else None
        command, rest = found, rest[1:]
    known = {"--help", *(o for p in command.params for o in (*p.opts, *p.secondary_opts))}
    wrong = [option for option in _OPTION.findall(" ".join(rest)) if option not in known]
    return f"no option {', '.join(wrong)} of {command.name}" if wrong else None


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_command_and_option_on_a_page_exists(page: Path) -> None:
    faults = {" ".join(words): fault for words in _list_commands(page.read_text()) if (fault := _find_fault(words))}
    assert not faults


def test_a_command_or_an_option_that_does_not_exist_is_found() -> None:
    page = "`overnight fly`, `overnight run FLOW --slowly`\n\n| `overnight why ROW` | x: `--html FILE --louder` |\n"
    faults = [_find_fault(words) for words in _list_commands(page + "```sh\nnight overnight runs --all  # x\n```\n")]
    wanted = [
        "no command fly",
        "no option --slowly of run",
        None,
        "no option --louder of why",
        "no option --all of runs",
    ]
    assert faults == wanted


def test_every_command_is_told_of_on_some_page() -> None:
    told = {words[0].strip(",.:") for page in _PAGES for words in _list_commands(page.read_text())}
    assert set(cli.commands) - told == set()


def _list_read() -> set[str]:
    """The settings that the code reads: whole string constants, so that no comment counts."""
    files = [path for folder in ("overnight", "tasks", "flows") for path in (_REPOSITORY / folder).rglob("*.py")]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if _SETTING.fullmatch(text)}


def test_every_setting_on_a_page_is_read_and_every_one_that_is_read_is_on_a_page() -> None:
    told = {name for page in _PAGES for name in _SETTING.findall(page.read_text())}
    assert told - _list_read() == set()
    assert _list_read() - _INTERNAL - told == set()


def test_the_table_of_settings_has_each_of_them() -> None:
    table = (_REPOSITORY / "docs/operations.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    assert _list_read() - _INTERNAL - set(_SETTING.findall(table)) == set()


def _read_unit(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment] - systemd's names have capitals
    unit.read_string(path.read_text())
    return unit


_SERVICES = sorted(_UNITS.glob("*.service"))


@pytest.mark.parametrize("path", _SERVICES, ids=lambda path: path.name)
def test_a_service_runs_a_program_that_is_there_as_a_user_of_its_own(path: Path) -> None:
    service = _read_unit(path)["Service"]
    program = Path(service["ExecStart"].split()[0])
    if str(program).startswith(_SCRIPTS):
        assert os.access(_UNITS / program.name, os.X_OK)
    else:
        assert str(program).startswith(_BIN)
        assert Path(sys.executable).with_name(program.name).exists()
    assert (service["User"], service["NoNewPrivileges"], service["ProtectSystem"]) == ("overnight", "yes", "strict")
    if "EnvironmentFile" in service:
        assert (_UNITS / Path(service["EnvironmentFile"]).name).exists()


def test_a_worker_is_given_the_time_that_a_clean_stop_of_its_runs_takes() -> None:
    service = _read_unit(_UNITS / "overnight-worker@.service")["Service"]
    stop, pid = service["ExecStop"].split()
    assert pid == "$MAINPID"
    waits_s = int(re.findall(r"-lt (\d+)", (_UNITS / Path(stop).name).read_text())[0])
    assert 30 < waits_s < int(service["TimeoutStopSec"])


def test_stopping_a_worker_tells_its_runs_and_waits_for_them(tmp_path: Path) -> None:
    told = tmp_path / "told"
    run = f"trap 'sleep 0.2; echo told > {told}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    worker = 'sh -c "$0" & wait; read _'
    with subprocess.Popen(
        ["sh", "-c", worker, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        subprocess.run([_UNITS / "overnight-stop", str(process.pid)], check=True, timeout=20)
        assert told.exists()
        process.kill()


def test_each_timer_has_its_service() -> None:
    timers = sorted(_UNITS.glob("*.timer"))
    assert timers
    assert all(timer.with_suffix(".service").exists() for timer in timers)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="There is no systemd here to read the units.")
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    for path in (*_SERVICES, *_UNITS.glob("*.timer")):
        here = path.read_text().replace(_BIN, f"{Path(sys.executable).parent}/").replace(_SCRIPTS, f"{_UNITS}/")
        (tmp_path / path.name).write_text(here)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    # It may know other units of the machine, with faults of their own.
    faults = [line for line in (done.stdout + done.stderr).splitlines() if "overnight" in line]
    assert not faults


def test_the_programs_of_the_units_know_their_options() -> None:
    lines = [_read_unit(path)["Service"]["ExecStart"] for path in _SERVICES]
    given = [line.removeprefix(f"{_BIN}prefect ").split() for line in lines if line.startswith(f"{_BIN}prefect ")]
    assert given
    for words in given:
        command = [word for word in words[:2] if not word.startswith("-")]
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *command, "--help"], capture_output=True, text=True, check=True
        )
        assert set(_OPTION.findall(" ".join(words))) <= set(_OPTION.findall(done.stdout)), command


def _read_environment(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_environment_files_say_what_is_read() -> None:
    from prefect.settings.legacy import _get_valid_setting_names  # noqa: PLC0415 - seconds, for this test alone

    known = _get_valid_setting_names(__import__("prefect.settings").settings.Settings)
    known |= _list_read() | {"OPENAI_API_KEY", "DO_NOT_TRACK"}
    for path in _UNITS.glob("*.env"):
        assert set(_read_environment(path)) <= known, path.name
    # A shell reads the same files: nothing in them may mean something to it.
    assert not any(
        set(value) & set("$`'\"\\ ;&|<>()#") for p in _UNITS.glob("*.env") for value in _read_environment(p).values()
    )


@pytest.mark.parametrize("path", [p for p in sorted(_UNITS.iterdir()) if not p.suffix], ids=lambda path: path.name)
def test_a_script_is_one_that_a_shell_can_read(path: Path) -> None:
    assert subprocess.run(["sh", "-n", path], capture_output=True, check=False).stderr == b""


def test_each_file_for_a_server_is_spoken_of() -> None:
    page = (_REPOSITORY / "docs/server.md").read_text()
    assert [p.name for p in _UNITS.iterdir() if p.name not in page and p.stem not in page] == []


def test_links_between_pages_lead_somewhere() -> None:
    links = [(page, link) for page in _PAGES for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []
