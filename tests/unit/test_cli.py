"""Every command explains itself, and wrong use ends with a sentence and exit code 2."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from nightscribe.cli.main import COMMANDS as COMMANDS_OF_HELP
from nightscribe.cli.main import cli
from nightscribe.server.config import ServerSettings
from nightscribe.shared.settings import ENV_PREFIX, Settings
from nightscribe.worker.weights import speaker_models


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Every command configures logging for its process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def commands(command: click.Command = cli, name: str = "nightscribe") -> dict[str, click.Command]:
    """Every command by the words that call it."""
    found = {name: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            assert below
            found |= commands(below, f"{name} {word}")
    return found


COMMANDS = commands()
LEAVES = {name: command for name, command in COMMANDS.items() if not isinstance(command, click.Group)}


def call(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="nightscribe", env=env)


def refused(result: Result) -> str:
    """The sentence with which it was refused."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


# Help


def test_all_commands_are_walked() -> None:
    assert {"nightscribe run", "nightscribe director", "nightscribe worker", "nightscribe models pull"} <= set(LEAVES)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(name: str, option: str) -> None:
    result = call(*name.split()[1:], option)
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: {name} ")


@pytest.mark.parametrize("group", ["speakers", "models"])
def test_a_group_without_a_command_shows_its_help(group: str) -> None:
    result = call(group)
    assert result.exit_code == 2
    assert result.output == call(group, "--help").output


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_shows_how_it_is_called(name: str) -> None:
    examples = re.findall(rf"^\s+(?:\w+=\S+ )*{name} .+$", call(*name.split()[1:], "--help").output, re.MULTILINE)
    assert examples


@pytest.mark.parametrize("name", LEAVES)
def test_the_examples_are_right(name: str) -> None:
    """Their options are options of the command and their values are taken."""
    examples = re.findall(rf"^\s+(?:\w+=\S+ )*{name} (.+)$", call(*name.split()[1:], "--help").output, re.MULTILINE)
    for example in examples:
        environment = {"NIGHTSCRIBE_SOURCE": "in", "NIGHTSCRIBE_DEST": "out"}
        with pytest.MonkeyPatch.context() as patched:
            for variable, value in environment.items():
                patched.setenv(variable, value)
            LEAVES[name].make_context(name, shlex.split(example), parent=click.Context(cli, **cli.context_settings))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_command_is_explained(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize("name", LEAVES)
def test_every_setting_is_shown_with_its_variable_and_default(name: str) -> None:
    fields = ServerSettings.model_fields | Settings.model_fields
    options = [o for o in LEAVES[name].params if isinstance(o, click.Option) and o.name in fields]
    shown = " ".join(call(*name.split()[1:], "--help").output.split())
    for option in options:
        assert option.name
        assert f"[{ENV_PREFIX}{option.name.upper()}; default: " in shown
        assert fields[option.name].description
    assert options or name == "nightscribe health"  # which loads nothing that knows of settings


def test_every_setting_a_user_may_need_is_an_option_of_some_command() -> None:
    """The others are for tests and deployments, and have their variables."""
    options = {option.name for command in LEAVES.values() for option in command.params}
    variables_only = {"settle_s", "poll_s", "visibility_timeout_s", "heartbeat_s", "max_receives", "retry_delay_s"}
    variables_only |= {"queue_secret", "queue_secret_file"}  # everybody sees the arguments of a command
    of_buckets = {"s3_sse", "s3_kms_key", "s3_requester_pays", "cache_gb"}
    assert set(Settings.model_fields) - options == variables_only | of_buckets


def test_a_former_name_of_an_option_is_taken(source: Path, tmp_path: Path) -> None:
    """The setting has another name now, and scripts are older than that."""
    said = refused(call("director", source, tmp_path / "out", "--window", "none"))
    assert said == "Error: --max-queued-jobs is 'none': it must be a whole number"


def test_help_comes_at_once() -> None:
    """Nothing is imported that only a command needs: that would take seconds on a small machine."""
    program = "import sys; from nightscribe.__main__ import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "click" in loaded
    assert not {"boto3", "numpy", "pydantic", "rich", "structlog"} & loaded


def test_the_list_of_commands_is_that_of_the_commands() -> None:
    """Each is listed without being imported."""
    for name, lazy in COMMANDS_OF_HELP.items():
        assert name == lazy.name
        assert (LEAVES | COMMANDS)[f"nightscribe {name}"].help


def test_the_version_is_told() -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert re.search(r"\d+\.\d+", result.output)


def test_help_is_given_where_a_user_has_no_home() -> None:
    """As in a container that runs under a number."""
    program = """
import pwd
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
from nightscribe.cli.main import main
main()
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# Wrong use


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with nothing in it."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


WITH_FOLDERS = ["run", "director", "worker"]


@pytest.mark.parametrize("command", WITH_FOLDERS)
def test_a_source_that_is_not_there_is_refused(tmp_path: Path, command: str) -> None:
    said = refused(call(command, tmp_path / "nowhere", tmp_path / "out"))
    assert (
        said
        == f"Error: SOURCE {str(tmp_path / 'nowhere')!r} does not exist; give the folder that holds your recordings."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["director", "worker"])
def test_a_source_that_is_a_file_is_refused(tmp_path: Path, command: str) -> None:
    (tmp_path / "talk.mp3").write_bytes(b"sound")
    assert refused(call(command, tmp_path / "talk.mp3", tmp_path / "out")).endswith(
        "is a file; give the folder that holds it."
    )


@pytest.mark.parametrize("command", WITH_FOLDERS)
@pytest.mark.usefixtures("ffmpeg")
def test_a_destination_that_is_a_file_is_refused(source: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "out").write_bytes(b"")
    assert refused(call(command, source, tmp_path / "out")).endswith("is a file; give a folder.")


@pytest.mark.parametrize("command", WITH_FOLDERS)
def test_without_folders_the_first_one_is_asked_for(command: str) -> None:
    assert "SOURCE" in refused(call(command))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "bas"], "There is no model named 'bas'. Did you mean base"),
        (["--model", "./nowhere.pt"], "There is no file or folder ./nowhere.pt"),
        (["--language", "klingon"], "Unknown language 'klingon'"),
        (
            ["--model", "tiny.en", "--language", "fr"],
            "knows only English, and the language is fr. Choose --model tiny.",
        ),
        (["--model", "tiny.en", "--task", "translate"], "cannot translate. Choose --model tiny."),
        (["--formats", "odt"], "Unknown format 'odt'. Choose from: txt, vtt, srt, json, tsv, ass, lrc, rttm, "),
        (["--formats", ","], "No format is given"),
        (["--workers", "zero"], "--workers is 'zero': "),
        (["--workers", "0"], "--workers is '0': "),
        (
            ["--engine", "siri"],
            "There is no engine named 'siri'. Choose auto, faster-whisper, onnx-whisper, openai-whisper or onnx-asr.",
        ),
        (["--task", "sing"], "'sing' is not one of 'transcribe'"),
        (["--wrokers", "2"], "No such option"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(
    source: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert said in refused(call("run", source, tmp_path / "out", *arguments))
    assert not (tmp_path / "out" / ".nightscribe").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NIGHTSCRIBE_WORKERS", "zero", "NIGHTSCRIBE_WORKERS is 'zero': "),
        ("NIGHTSCRIBE_MODEL", "bas", "There is no model named 'bas'"),
        ("NIGHTSCRIBE_QUEUE_NAME", "not fifo", "NIGHTSCRIBE_QUEUE_NAME is 'not fifo': "),
    ],
)
@pytest.mark.parametrize("command", WITH_FOLDERS)
def test_a_wrong_variable_is_refused(
    source: Path, tmp_path: Path, command: str, variable: str, value: str, said: str
) -> None:
    assert said in refused(call(command, source, tmp_path / "out", env={variable: value}))


def test_a_model_that_is_not_there_cannot_be_pulled() -> None:
    assert "There is no model named 'hug'" in refused(call("models", "pull", "hug"))


def test_the_models_that_tell_speakers_apart_can_be_pulled(tmp_path: Path) -> None:
    folder = tmp_path / speaker_models.FOLDER
    folder.mkdir()
    for name in speaker_models.CONVERTERS:
        (folder / name).with_suffix(".onnx").touch()
    done = call("models", "pull", "speakers", "--models-dir", tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"speakers for ONNX Runtime: {folder} (from: cache)\n")


def test_an_unknown_command_is_refused() -> None:
    assert "No such command 'rum'" in refused(call("rum"))


# Nothing to do, which needs neither queue nor model


@pytest.mark.usefixtures("ffmpeg")
def test_an_empty_source_is_a_run_well_done(source: Path, tmp_path: Path) -> None:
    result = call("run", source, tmp_path / "out")
    assert (result.exit_code, result.stdout) == (
        0,
        "No recordings were found: no audio or video file that ffmpeg reads.\n",
    )


@pytest.mark.usefixtures("ffmpeg")
def test_a_dry_run_makes_no_destination(source: Path, tmp_path: Path) -> None:
    (source / "talk.mp3").write_bytes(b"sound")
    os.utime(source / "talk.mp3", (1_000_000_000, 1_000_000_000))
    result = call("run", source, tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Would transcribe 1 recording, ")
    assert "  talk.mp3" in result.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("ffmpeg")
def test_folders_may_be_given_by_variables(source: Path, tmp_path: Path) -> None:
    folders = {"NIGHTSCRIBE_SOURCE": str(source), "NIGHTSCRIBE_DEST": str(tmp_path / "out")}
    assert call("run", env=folders).exit_code == 0


@pytest.mark.parametrize("folders", [("status", "X"), ("retry", "X"), ("run", "X", "dest"), ("run", ".", "X")])
@pytest.mark.usefixtures("ffmpeg")
def test_a_folder_that_cannot_even_be_looked_at_is_a_sentence(folders: tuple[str, ...], tmp_path: Path) -> None:
    """This user may not enter the one above it, or, the same for everybody, its name is too long for one."""
    said = refused(call(*(str(tmp_path / ("n" * 300)) if word == "X" else word for word in folders)))
    assert "cannot be accessed" in said


def test_a_source_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    assert "is not valid UTF-8" in refused(call("run", str(tmp_path / "caf\udce9"), str(tmp_path)))


def test_the_queue_that_is_looked_at_is_by_default_the_last_one() -> None:
    for command in ("status", "retry"):
        assert "default: that of the last director" in " ".join(call(command, "--help").output.split())


LOADING = """
import sys
from nightscribe.__main__ import main

class Interrupting:
    def find_spec(self, name, *_):
        if name == "boto3":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.argv = ["nightscribe", "status", "."]
main()
"""


def test_ctrl_c_before_a_command_is_loaded_ends_it_with_a_word() -> None:
    """Its packages take a second, in which many think better of it."""
    done = subprocess.run([sys.executable, "-P", "-c", LOADING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("arguments", [("run", "", "out"), ("run", "in", ""), ("status", "")])
def test_an_empty_argument_is_not_the_folder_one_stands_in(arguments: tuple[str, ...]) -> None:
    """It is a variable that was not set, and a run would fill that folder with texts."""
    assert "perhaps a variable is not set" in refused(call(*arguments))
