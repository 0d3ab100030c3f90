"""What a command says beside its work: misspelt variables, notices, what is ignored, and values for the shell."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.shell_completion import ShellComplete
from making import failure

from nightscribe import terminal
from nightscribe.cli.main import COMMANDS, cli
from nightscribe.cli.notices import check_addresses, notify
from nightscribe.cli.variables import FLAGS, misspelt
from nightscribe.director.scan.scanner import Scanner
from nightscribe.services.ignore import ignore
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import ENV_PREFIX, Settings
from nightscribe.shared.storage.base import StorageOptions
from nightscribe.shared.storage.folder.location import FolderLocation


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant() -> None:
    given = ["NIGHTSCRIBE_MODLE", "NIGHTSCRIBE_MODEL", "NIGHTSCRIBE_PORT", "NIGHTSCRIBE_WINDOW", "NIGHTSCRIBE_OWN"]
    assert list(misspelt(given)) == [
        "Nothing reads the variable NIGHTSCRIBE_MODLE; did you mean NIGHTSCRIBE_MODEL?",
    ]


def test_no_variable_of_a_flag_is_taken_for_misspelt() -> None:
    context = click.Context(cli)
    commands = [command for name in COMMANDS if (command := cli.get_command(context, name))]
    variables = {str(each.envvar) for command in commands for each in command.params if each.envvar}
    flags = {variable.removeprefix(ENV_PREFIX) for variable in variables}
    assert flags <= {*FLAGS, *(name.upper() for name in Settings.model_fields)}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["run", "--engine", "open"], {"openai-whisper"}),
        (["run", "--model", "tin"], {"tiny", "tiny.en"}),
        (["run", "--formats", "txt,v"], {"txt,vtt"}),
        (["director", "--language", "vi"], {"vi"}),
    ],
)
def test_the_shell_completes_values(typed: list[str], completed: set[str]) -> None:
    found = ShellComplete(cli, {}, "nightscribe", "_NIGHTSCRIBE_COMPLETE").get_completions(typed[:-1], typed[-1])
    assert {each.value for each in found} == completed


def test_a_line_is_broken_between_words_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "  2012/talk.mp3: It is damaged in the middle, so only its first half could be transcribed."
    assert terminal.fitted(line) == line
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("COLUMNS", "40")
    lines = terminal.fitted(line).splitlines()
    assert all(len(each) <= 40 for each in lines)
    assert [each[:5] for each in lines] == ["  201", "    m", "    b"]


# Ignoring


def test_what_always_fails_can_be_ignored_and_taken_back(tmp_path: Path) -> None:
    source, dest, options = tmp_path / "in", FolderLocation(tmp_path / "out"), StorageOptions()
    for name in ("bad.mp3", "good.mp3", "old/bad.wav"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    dest.check_dest(options, create=True)
    records = Records(dest.open_store(options))
    records.fail(failure("bad.mp3"))

    def missing() -> tuple[list[str], int]:
        place = FolderLocation(source).open_source(options)
        scan = Scanner(source=place, records=records, formats=("txt",), settle_s=0).scan()
        return sorted(each.recording.path for each in scan.missing), scan.n_ignored

    done = ignore(dest, ["bad.mp3", "old"], undo=False, options=options)
    assert (done.patterns, done.n_failures) == (("bad.mp3", "old"), 1)
    assert list(records.failures()) == []
    assert missing() == (["good.mp3"], 2)
    assert ignore(dest, [], undo=False, options=options).patterns == ("bad.mp3", "old")
    assert ignore(dest, ["old", "new"], undo=True, options=options).unknown == ("new",)
    assert missing() == (["good.mp3", "old/bad.wav"], 1)


# Notices

IMGHDR = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # which a plug-in of apprise imports


@pytest.fixture
def hook(sockets: None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a webhook, and what it has received."""
    received: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if "good" in self.path else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_address[1]}", received
        server.shutdown()


@IMGHDR
def test_a_notice_is_sent_and_what_does_not_take_it_is_named(hook: tuple[str, list[dict[str, str]]]) -> None:
    address, received = hook
    check_addresses([address])
    assert notify([f"{address}/good"], "nightscribe: out", "Done: 2 recordings.") == []
    assert (received[0]["title"], received[0]["message"]) == ("nightscribe: out", "Done: 2 recordings.")
    assert notify([f"{address}/bad"], "title", "text") == ["The notice to json://… was not taken."]


@IMGHDR
def test_an_address_that_nobody_knows_is_refused_before_the_night_and_no_password_shown() -> None:
    with pytest.raises(SetupError, match=r"--notify nowhere://… is no address that apprise knows") as refused:
        check_addresses(["nowhere://me:secret@host"])
    assert "secret" not in str(refused.value)
