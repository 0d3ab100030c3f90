"""What build.sh says where containers cannot be started, without starting any."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightscribe.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with build.sh in it, so that nobody's own .env is read."""
    for name in ("build.sh", ".env.example", "docker-compose.yml", "nightscribe/cli/main.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "recordings").mkdir()
    return {"SOURCE_DIR": str(tmp_path / "recordings"), "DEST_DIR": str(tmp_path / "transcripts")}


def build(project: Path, *arguments: str, user: int | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_CONFIG") if key in os.environ} | more
    return subprocess.run(
        ["bash", str(project / "build.sh"), *arguments],
        env=environment, user=user, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_every_command_is_in_its_help(project: Path) -> None:
    said = build(project, "help").stdout
    for command in ("test", "quick", "docs", "bench", "setup", "build", "deploy", "logs", "scale", "down"):
        assert f"\n  {command} " in said, command
    for command, lazy in COMMANDS.items():
        assert re.search(rf"\n  {command} +{re.escape(lazy.help)}\n", said), command


def test_a_command_that_does_not_exist_is_refused_before_anything_is_installed(project: Path) -> None:
    done = build(project, "rum")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Error: There is no command 'rum'.\n")
    assert not (project / ".venv").exists()


def test_a_python_that_is_too_old_is_named(project: Path) -> None:
    programs = project / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "grep", "sed"):
        (programs / name).symlink_to(shutil.which(name) or pytest.skip(f"this machine has no {name}"))
    (programs / "python3").write_text("#!/bin/sh\n[ $1 = -V ] && echo Python 3.9.2\nexit 1\n")
    (programs / "python3").chmod(0o755)
    said = refused(build(project, "run", PATH=str(programs)))
    assert said.startswith(
        "Error: nightscribe needs Python 3.11 or newer, and this machine has Python 3.9.2. Install it"
    )


def test_an_unset_folder_is_named_with_what_to_do(project: Path, folders: dict[str, str]) -> None:
    said = refused(build(project, "deploy", SOURCE_DIR=folders["SOURCE_DIR"]))
    assert said.startswith("Error: DEST_DIR is not set. Copy .env.example to .env")


@pytest.mark.parametrize("arguments", [("deploy",), ("status",), ("scale", "2")])
def test_where_no_folder_is_set_nothing_is_made(project: Path, arguments: tuple[str, ...]) -> None:
    assert "SOURCE_DIR is not set" in refused(build(project, *arguments))
    assert not (project / ".cache").exists()


def test_the_example_alone_is_not_enough(project: Path) -> None:
    shutil.copy(project / ".env.example", project / ".env")
    assert "SOURCE_DIR is not set" in refused(build(project, "deploy"))


@pytest.mark.parametrize("value", ["/none there", '"/none there"', "'/none there'", "/none there   # my recordings"])
def test_a_folder_in_the_file_is_read_as_compose_reads_it(project: Path, value: str) -> None:
    (project / ".env").write_text(f"# folders\nSOURCE_DIR=/other\nSOURCE_DIR={value}\nDEST_DIR=/tmp\n")
    assert "SOURCE_DIR '/none there' is not a folder" in refused(build(project, "deploy"))


def test_the_shell_wins_over_the_file(project: Path) -> None:
    (project / ".env").write_text("SOURCE_DIR=/other\nDEST_DIR=/tmp\n")
    assert "SOURCE_DIR '/mine' is not a folder" in refused(build(project, "deploy", SOURCE_DIR="/mine"))


@pytest.mark.parametrize(("value", "meant"), [("~/talks", "{home}/talks"), ("talks", "{project}/talks")])
def test_a_folder_may_be_given_from_home_or_from_where_the_file_is(project: Path, value: str, meant: str) -> None:
    (project / ".env").write_text(f"SOURCE_DIR={value}\nDEST_DIR=/tmp\n")
    path = meant.format(home="/home/me", project=project)
    assert f"SOURCE_DIR '{path}' is not a folder" in refused(build(project, "deploy", HOME="/home/me"))


def test_a_destination_that_is_a_file_is_refused(project: Path, folders: dict[str, str]) -> None:
    Path(folders["DEST_DIR"]).touch()
    assert "is a file; set it in .env to a folder" in refused(build(project, "deploy", **folders))


@pytest.mark.parametrize("n", [(), ("many",), ("-1",)])
def test_scale_asks_for_a_number(project: Path, n: tuple[str, ...]) -> None:
    assert "./build.sh scale 3" in refused(build(project, "scale", *n))


@pytest.mark.parametrize("name", ["../build", "nothing"])
def test_a_benchmark_that_is_not_there_is_no_program(project: Path, name: str) -> None:
    assert "./build.sh bench lists" in refused(build(project, "bench", name))


def test_bench_lists_every_program_with_what_it_is_for(project: Path) -> None:
    shutil.copytree(ROOT / "bench", project / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    heading, *listed = build(project, "bench").stdout.splitlines()
    programs = {
        "accuracy", "bombs", "chaos", "clips", "confidence", "cost", "frame_models", "fuzz", "gpu", "listing",
        "memory", "overhead", "page", "page_picture", "scaling", "search", "server", "server_load", "speakers",
        "speed", "subtitles", "timing", "wav2vec2_reference",
    }  # fmt: skip
    assert heading.startswith("Usage: ./build.sh bench NAME")
    assert {line.split()[0] for line in listed if len(line.split()) > 3} == programs


@pytest.mark.parametrize("command", ["build", "deploy", "logs", "down", "status"])
def test_without_docker_it_is_said_how_to_get_it_or_do_without(
    project: Path, folders: dict[str, str], command: str
) -> None:
    programs = project / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "id", "ls", "awk", "mkdir", "grep", "tail", "cut"):
        (programs / name).symlink_to(shutil.which(name) or pytest.skip(f"this machine has no {name}"))
    said = refused(build(project, command, PATH=str(programs), **folders))
    assert "Docker is not installed" in said
    assert "./build.sh run SOURCE DEST" in said
    assert not Path(folders["DEST_DIR"]).exists()


@pytest.fixture
def compose() -> Path:
    """The compose plugin of this machine's Docker, which need not be running."""
    if shutil.which("docker") is None:
        pytest.skip("this machine has no docker")
    asked = ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    found = [Path(each["Path"]) for each in json.loads(said or "null") or [] if each["Name"] == "compose"]
    if not found:
        pytest.skip("this machine's docker has no compose")
    return found[0]


@pytest.fixture
def listening(compose: Path) -> Iterator[Path]:
    """A folder with a socket on which somebody listens, and with a Docker configuration, for any user to look into."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listener:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "cli-plugins").mkdir()
        shutil.copy(compose, folder / "cli-plugins" / "docker-compose")
        listener.bind(str(folder / "docker.sock"))
        listener.listen()
        (folder / "docker.sock").chmod(0)
        yield folder


def test_a_docker_that_does_not_run_is_to_be_started(
    project: Path, folders: dict[str, str], compose: Path, tmp_path: Path
) -> None:
    said = refused(build(project, "deploy", DOCKER_HOST=f"unix://{tmp_path}/none.sock", **folders))
    assert "Docker does not respond" in said
    assert "systemctl start docker" in said


def test_who_may_not_use_dockers_socket_is_told_to_join_its_group(listening: Path) -> None:
    """For root there is no socket without permission, so it is somebody else then."""
    for name in ("build.sh", "docker-compose.yml"):
        shutil.copy(ROOT / name, listening)
    for name in ("source", ".cache"):
        (listening / name).mkdir(mode=0o777)
    done = build(
        listening, "deploy", user=NOBODY if os.geteuid() == 0 else None,
        DOCKER_HOST=f"unix://{listening}/docker.sock", DOCKER_CONFIG=str(listening),
        SOURCE_DIR=str(listening / "source"), DEST_DIR=str(listening / "dest"),
    )  # fmt: skip
    assert "no permission to use Docker's socket" in refused(done)
    assert "usermod -aG docker" in done.stderr
