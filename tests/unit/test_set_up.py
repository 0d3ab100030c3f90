"""What build.sh installs, how it shows that, and what it says where it cannot."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pip
import pytest

from nightscribe.cli import extras
from nightscribe.shared.errors import ExtraMissing
from nightscribe.views import cli_hints

ROOT = Path(__file__).parents[2]
SPEC = spec_from_file_location("set_up", ROOT / "infra/set_up.py")
assert SPEC
assert SPEC.loader
set_up = module_from_spec(SPEC)
sys.modules["set_up"] = set_up  # dataclasses look for it there
SPEC.loader.exec_module(set_up)
PROJECT = set_up.Project.load(ROOT, gpu=False)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only there does torch bring libraries for GPUs")


# What is installed


def test_complete_has_every_command_and_option_without_torch() -> None:
    """Whoever installs nightscribe for oneself names one extra."""
    special = {"", "all", "complete", "docs", "gpu", "openai-whisper", "test"}
    assert PROJECT.expanded(["complete"]) == set(PROJECT.requirements) - special | {"complete"}
    assert PROJECT.expanded(["all"]) >= {"complete", "openai-whisper"}
    assert not {"torch", "openai-whisper"} & PROJECT.packages(["complete"])


def test_what_nobody_uses_is_left_out() -> None:
    left_out = [line.split(" ; ")[0] for line in PROJECT.overrides(["faster-whisper", "local"])]
    assert left_out == ["av", "onnxruntime", "triton"]
    assert [line.split(" ; ")[0] for line in PROJECT.overrides(["speakers"])] == ["av", "triton"]


@ON_LINUX
def test_torch_for_gpus_is_installed_only_on_request() -> None:
    assert PROJECT.overrides(["all"])[-1] == PROJECT.torch
    assert PROJECT.torch.endswith("+cpu")
    gpu = set_up.Project.load(ROOT, gpu=True)
    assert not any(line.startswith(("torch", "triton")) for line in gpu.overrides(["all"]))


def test_a_size_counts_what_is_shared_once() -> None:
    both = set_up.megabytes(PROJECT, ["speakers", "onnx-whisper"], None)
    first = set_up.megabytes(PROJECT, ["speakers"], None)
    assert 0 < both[1] - first[1] < 10
    assert set_up.megabytes(PROJECT, ["speakers"], {"speakers"}) == (0, 0)


def test_an_unknown_extra_is_refused_with_the_others() -> None:
    with pytest.raises(set_up.CannotSetUp, match=r"no extra named 'spekers'\. Choose from: all, complete, "):
        PROJECT.expanded(["spekers"])


def test_uv_gets_the_indexes_and_wheels_of_pip(tmp_path: Path) -> None:
    listed = f"""
:env:.find-links='{tmp_path}'
global.cert='/etc/ssl/certs/ca-certificates.crt'
global.extra-index-url='https://one.example/simple https://two.example/simple'
global.find-links='/nowhere'
global.index-url='https://global.example/simple'
install.index-url='https://mirror.example/simple'
global.constraint='{tmp_path / "missing.txt"}'
"""
    assert set_up.for_uv(listed) == [
        *("--index-url", "https://mirror.example/simple"),
        *("--extra-index-url", "https://one.example/simple", "--extra-index-url", "https://two.example/simple"),
        *("--find-links", str(tmp_path)),
    ]


# What is shown


@pytest.mark.parametrize(
    "lines",
    [
        ["Downloading numpy (16.1MiB)", "Downloading av (34.0MiB)", " Downloaded numpy"],
        ["  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.1 MB)"],
    ],
    ids=["uv", "pip"],
)
def test_the_messages_of_uv_and_pip_become_progress(lines: list[str]) -> None:
    progress = set_up.Progress()
    for line in lines:
        progress.read(line)
    assert str(progress) == "16 MB downloaded" + (", fetching av" if len(lines) > 1 else "")


# Where it cannot be done


def test_a_full_disk_is_noticed_before_the_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300 * 2**20))
    with pytest.raises(set_up.CannotSetUp, match=r"needs about 600 MB in .*, and 300 MB are free"):
        set_up.check_room(tmp_path, 500)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with an environment that has nothing but pip, that of this one."""
    for name in ("build.sh", "pyproject.toml", "constraints.txt", "nightscribe/_version.py", "infra/set_up.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    venv = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    (packages / "pip").symlink_to(Path(pip.__file__).parent)
    (venv / "bin/pip").write_text(f"#!{venv}/bin/python\n")
    (venv / "bin/pip").chmod(0o755)
    return tmp_path


def test_an_environment_that_is_broken_or_was_moved_is_made_again(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = set_up.Project.load(clone, gpu=False)
    assert set_up.works(project, {})
    clone.rename(clone.with_name("elsewhere"))
    moved = set_up.Project.load(clone.with_name("elsewhere"), gpu=False)
    assert not set_up.works(moved, {})
    moved.python.unlink()
    moved.python.symlink_to("/python-that-was-upgraded")
    assert not set_up.works(moved, {})
    done: list[object] = []
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(set_up, "followed", lambda command, _: done.append(command[1:]) or "")
    set_up.create(moved)
    assert done == [["-m", "venv", str(moved.venv)]]
    assert not moved.python.exists()
    assert capsys.readouterr().err == f"{moved.venv} cannot be used any more, so it is made again.\n"


def test_without_a_network_what_is_installed_is_used_and_named(clone: Path) -> None:
    """Somebody pulls a commit that wants other packages, and starts it on a train."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    environment |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    environment |= {"HOME": str(clone), "UV_HTTP_RETRIES": "0"}
    command = ["bash", clone / "build.sh", "setup"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    setting_up, error = done.stderr.splitlines()
    assert setting_up.startswith(f"Setting up faster-whisper, local in {clone}/.venv, once: about ")
    assert error == "Error: The Python package index is unreachable, so nothing could be downloaded."
    noted = {"extras": ["faster-whisper", "local"], "is_complete": True, "state": "of before", "version": "0.0.9"}
    stamp = clone / ".venv" / PROJECT.stamp.name
    stamp.write_text(json.dumps(noted))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = "is unreachable, so nothing could be downloaded. Going on with what is installed, of nightscribe 0.0.9."
    assert done.stderr.splitlines()[-1].endswith(said)
    assert json.loads(stamp.read_text()) == noted  # the next command tries again


# What a command turns out to need

MISSING = ExtraMissing("The speech engine openai-whisper is not installed.", "openai-whisper")


def test_the_user_is_told_how_to_install_it_in_the_way_of_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(cli_hints.BUILD_SH, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert cli_hints.install("local") == "pip install 'nightscribe[local]'"
    (tmp_path / "pipx_metadata.json").touch()
    assert cli_hints.install("local") == "pipx install --force 'nightscribe[local]'"
    (tmp_path / "uv-receipt.toml").touch()
    assert cli_hints.install("local") == "uv tool install --force 'nightscribe[local]'"


@pytest.mark.parametrize(("folder", "shown"), [("", "./build.sh"), ("..", "./{name}/build.sh"), ("infra", "{path}")])
def test_hints_name_build_sh_as_it_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, shown: str
) -> None:
    (tmp_path / "infra").mkdir()
    monkeypatch.setenv(cli_hints.BUILD_SH, str(tmp_path / "build.sh"))
    monkeypatch.chdir(tmp_path / folder)
    typed = shown.format(name=tmp_path.name, path=tmp_path / "build.sh")
    assert cli_hints.typed("verify", "DEST") == f"{typed} verify DEST"


def test_build_sh_installs_what_is_missing_and_the_command_starts_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "build.sh").write_text(f"echo $* >{tmp_path}/typed")
    monkeypatch.setenv(cli_hints.BUILD_SH, str(tmp_path / "build.sh"))
    monkeypatch.setenv(extras.SET_UP, "")
    monkeypatch.setattr(sys, "argv", ["nightscribe", "run", "in", "out"])
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: started.append(arguments))
    assert extras.can_install(MISSING)
    extras.install_and_start_again(MISSING)
    assert (tmp_path / "typed").read_text() == "setup openai-whisper\n"
    assert started == [[sys.executable, "-P", "-m", "nightscribe", "run", "in", "out"]]
    assert not extras.can_install(MISSING)  # or it would go on for ever
