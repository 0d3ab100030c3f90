"""Create the virtual environment of build.sh and install in it what a command needs, with the standard library only.

`python set_up.py EXTRA[,EXTRA…]` returns at once if everything is there. uv installs several times faster than pip, so
it is used if it is on the PATH or if pip can fetch it; otherwise pip does the work.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
OLDEST_UV = (0, 5)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Megabytes that a package takes with what only it needs: to download, and on the disk. Measured on Linux, x86-64.
PACKAGE_MB = {
    "boto3": (16, 40),
    "faster-whisper": (50, 185),
    "imageio-ffmpeg": (65, 165),
    "kubernetes-validate": (22, 108),
    "mkdocs-material": (25, 110),
    "mypy": (16, 50),
    "numpy": (16, 60),
    "nvidia-cublas-cu12": (580, 900),
    "onnx": (9, 45),
    "onnxruntime": (23, 70),
    "openai-whisper": (70, 210),
    "ruff": (10, 25),
    "torch": (190, 760),
}
OTHER_MB = (1, 4)
TOOLS_MB = (20, 60)  # pip and uv
SPARE_MB = 100
# faster-whisper would decode files with av and detect speech with onnxruntime; nightscribe lets it do neither. Only
# GPUs need triton.
UNUSED = ("av", "onnxruntime", "triton")
OFFLINE = re.compile(
    "dns error|error sending request|tcp connect error|NewConnectionError|Connection refused|Failed to resolve|"
    "Name or service not known|Network is unreachable|Temporary failure in name resolution|Max retries exceeded|"
    "ConnectTimeout|ReadTimeout|client error \\(Connect\\)|connection broken|from versions: none",
    re.IGNORECASE,
)


class CannotSetUp(Exception):
    """The environment cannot be made; the text is a sentence for the user."""


@dataclass(frozen=True)
class Project:
    """The project that is installed, and where."""

    root: Path
    gpu: bool = False
    requirements: Mapping[str, list[str]] = field(default_factory=dict)
    """The requirements of each extra, and of `""`, which everybody needs."""

    @classmethod
    def load(cls, root: Path, *, gpu: bool) -> "Project":
        """Read pyproject.toml."""
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return cls(root, gpu, {"": project["dependencies"]} | project["optional-dependencies"])

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """The note in the environment of what was installed."""
        return self.venv / ".nightscribe-set-up.json"

    def expanded(self, extras: Iterable[str]) -> set[str]:
        """Return the extras and all those that they include. Raises: CannotSetUp: if there is no such extra."""
        found: set[str] = set()
        left = list(extras)
        while left:
            extra = left.pop()
            if extra in found:
                continue
            if extra not in self.requirements:
                known = ", ".join(sorted(filter(None, self.requirements)))
                raise CannotSetUp(f"There is no extra named {extra!r}. Choose from: {known}.")
            found.add(extra)
            for each in self.requirements[extra]:
                if included := re.match(r"nightscribe\[([\w,-]+)\]", each):
                    left += included[1].split(",")
        return found

    def packages(self, extras: Iterable[str]) -> set[str]:
        """Return the names of the packages that these extras ask for themselves."""
        wanted = [each for extra in ["", *self.expanded(extras)] for each in self.requirements[extra]]
        return {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in wanted} - {"nightscribe"}

    def overrides(self, extras: Iterable[str]) -> list[str]:
        """Return what uv installs differently from what packages ask for: not what is unused, and torch for CPUs."""
        packages = self.packages(extras)
        lines = [
            f"{name} ; sys_platform == 'never'"
            for name in UNUSED
            if name not in packages and not (name == "triton" and self.gpu)
        ]
        return lines + ([self.torch] if "torch" in packages and self.takes_cpu_torch else [])

    @property
    def takes_cpu_torch(self) -> bool:
        """Whether torch is wanted without gigabytes of libraries for GPUs, which are the default on Linux only."""
        return sys.platform == "linux" and not self.gpu

    @property
    def torch(self) -> str:
        """The requirement of the torch that is wanted."""
        wanted = next(each for each in self.requirements["openai-whisper"] if each.startswith("torch=="))
        return f"{wanted}+cpu" if self.takes_cpu_torch else wanted

    def state(self) -> str:
        """Return a hash of everything that decides what is installed."""
        digest = hashlib.sha256(f"{self.venv}\n{self.gpu}\n".encode())
        for name in ("pyproject.toml", "constraints.txt", "nightscribe/_version.py"):
            digest.update((self.root / name).read_bytes())
        return digest.hexdigest()

    def installed(self) -> dict[str, object]:
        """Return the note of what was installed; empty if there is none."""
        try:
            noted = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}


def megabytes(project: Project, asked: Iterable[str], already: Iterable[str] | None) -> tuple[int, int]:
    """Return about how many megabytes the extras take: to download, and on the disk. `already`: None in a new place."""
    new = project.packages(asked) - (set() if already is None else project.packages(already))
    sizes = [PACKAGE_MB.get(each, OTHER_MB) for each in new] + ([TOOLS_MB] if already is None else [])
    return sum(download for download, _ in sizes), sum(disk for _, disk in sizes)


def set_up(project: Project, asked: Collection[str]) -> None:
    """Install what `asked` needs beside what is installed. Raises: CannotSetUp: if that is impossible."""
    if is_ready(project, asked):
        return
    with alone(project.root):
        if is_ready(project, asked):  # another process has done it meanwhile
            return
        before = project.installed()
        is_new = not works(project, before)
        already = set() if is_new else set(map(str, before.get("extras", ())))  # type: ignore[call-overload]
        extras = sorted(already | set(asked))
        download_mb, disk_mb = megabytes(project, asked, None if is_new else already)
        check_room(project.root, disk_mb)
        what = "nightscribe" if is_new else ", ".join(sorted(set(asked) - already)) or "what has changed"
        say(f"Setting up {what} in {project.venv}, once: about {download_mb} MB to download, {disk_mb} MB on the disk.")
        began_s = time.monotonic()
        if is_new:
            create(project)
        is_whole = before.get("is_complete") is True
        project.stamp.write_text(json.dumps({"extras": extras, "is_complete": False}))
        try:
            install(project, extras, again=bool(before) and not is_whole and not is_new)
        except CannotSetUp as error:
            if not is_new and is_whole:
                project.stamp.write_text(json.dumps(before))
                if set(asked) <= already:
                    say(f"{error} Going on with what is installed, of nightscribe {before.get('version')}.")
                    return
            raise
        version = re.findall(r'"(.+)"', (project.root / "nightscribe/_version.py").read_text())[-1]
        done = {"extras": extras, "is_complete": True, "state": project.state(), "version": version}
        project.stamp.write_text(json.dumps(done))
        say(f"Set up in {time.monotonic() - began_s:.0f} s: {size_mb(project.venv)} MB in {project.venv}.")


def is_ready(project: Project, asked: Collection[str]) -> bool:
    """Return whether everything is installed as the project wants it now."""
    noted = project.installed()
    extras = noted.get("extras")
    return (
        noted.get("is_complete") is True
        and noted.get("state") == project.state()
        and isinstance(extras, list)
        and set(asked) <= set(extras)
        and project.python.exists()
    )


def works(project: Project, noted: Mapping[str, object]) -> bool:
    """Return whether the environment can be used, and was made here by a Python that is still there."""
    if not noted and not project.python.exists():
        return False
    program = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON} or sys.prefix != {str(project.venv)!r})"
    try:
        done = subprocess.run([project.python, "-c", program], capture_output=True, check=False)
        # The scripts of an environment that was moved still name its former place.
        scripts = subprocess.run([project.venv / "bin" / "pip", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and scripts.returncode == 0


def check_room(folder: Path, disk_mb: int) -> None:
    """Raise CannotSetUp if the disk has no room for what would be downloaded."""
    free_mb = shutil.disk_usage(folder).free // 2**20
    if free_mb < disk_mb + SPARE_MB:
        raise CannotSetUp(
            f"Set-up needs about {disk_mb + SPARE_MB} MB in {folder}, and {free_mb} MB are free. Make room there, "
            "or clone nightscribe to a larger disk."
        )


def create(project: Project) -> None:
    """Create the environment anew. Raises: CannotSetUp: if Python cannot."""
    if project.venv.exists():
        say(f"{project.venv} cannot be used any more, so it is made again.")
        shutil.rmtree(project.venv)
    python = getattr(sys, "_base_executable", sys.executable)  # this program may run in the environment it replaces
    uv = shutil.which("uv")
    make = [uv, "venv", "--seed", "--python", python] if uv else [python, "-m", "venv"]
    failure = followed([*make, str(project.venv)], "making an environment")
    if failure and uv:
        failure = followed([python, "-m", "venv", str(project.venv)], "making an environment")
    if failure:
        shutil.rmtree(project.venv, ignore_errors=True)
        if "No space left" in failure:
            raise CannotSetUp(f"The disk of {project.root} is full. Make room there and repeat the command.")
        raise CannotSetUp(
            f"{python} cannot create a virtual environment. On Debian and Ubuntu, install what it needs: "
            "apt-get install python3-venv."
        )


def install(project: Project, extras: list[str], *, again: bool) -> None:
    """Install the project with these extras; `again`: also what seems to be installed, for an earlier try broke off."""
    wanted = ["-c", str(project.root / "constraints.txt"), "-e", f"{project.root}[{','.join(extras)}]"]
    cpu_index = []
    if "torch" in project.packages(extras) and project.takes_cpu_torch:
        index = os.environ.get("TORCH_CPU_INDEX") or CPU_INDEX
        cpu_index = ["--extra-index-url", index] if answers(f"{index}/torch/") else []
    if uv := find_uv(project):
        options = [*pip_options(project), *cpu_index]
        if "--extra-index-url" in options:
            options += ["--index-strategy", "unsafe-best-match"]  # as pip does
        with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=project.venv) as overrides:
            overrides.write("\n".join(project.overrides(extras)))
            overrides.flush()
            command = [uv, "pip", "install", "--python", str(project.python), "--override", overrides.name]
            failure = followed([*command, *options, *(["--reinstall"] if again else []), *wanted])
        if not failure:
            return
        if "torch" in failure and project.torch in failure and "+cpu" in failure:
            raise CannotSetUp(
                f"The CPU build of torch was not found: {index} is unreachable. Set TORCH_CPU_INDEX to a mirror of it, "
                "or NIGHTSCRIBE_GPU=1 to install the build for NVIDIA GPUs, which is several GB larger."
            )
        explain(project, failure)
    pip = [str(project.python), "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    pip += cpu_index + (["--force-reinstall"] if again else [])
    if "torch" in project.packages(extras):
        wanted.append(project.torch)
    if failure := followed([*pip, *wanted]):
        explain(project, failure)
        say(failure.strip())
        raise CannotSetUp("nightscribe could not be installed; the messages above say why.")


def explain(project: Project, failure: str) -> None:
    """Raise CannotSetUp if the messages of uv or pip show a cause that has a plain sentence."""
    if "No space left" in failure or "os error 28" in failure:
        raise CannotSetUp(f"The disk of {project.root} became full. Make room there and repeat the command.")
    if OFFLINE.search(failure):
        raise CannotSetUp("The Python package index is unreachable, so nothing could be downloaded.")


def find_uv(project: Project) -> str:
    """Return the path of uv, after fetching it with pip if necessary; empty if pip must do without."""
    own = project.venv / "bin" / "uv"
    for each in (shutil.which("uv"), own):
        if each and uv_version(str(each)) >= OLDEST_UV:
            return str(each)
    constraints = ["-c", str(project.root / "constraints.txt")]
    command = [str(project.python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--retries", "1"]
    command += ["--only-binary", ":all:", *constraints, "uv"]
    failure = followed(command, "fetching uv, which installs faster than pip")
    if "Retrying" in failure:  # an index that answers but has no uv may have everything else
        explain(project, failure)
    return str(own) if uv_version(str(own)) >= OLDEST_UV else ""


def uv_version(program: str) -> tuple[int, ...]:
    """Return the version of uv, or nothing if this is none."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    found = re.match(r"uv (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def pip_options(project: Project) -> list[str]:
    """Return for uv what pip is configured with: the user's index, mirror and wheels, which uv does not read."""
    command = [project.python, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return for_uv(listed)


def for_uv(listed: str) -> list[str]:
    """Return the options of uv for what `pip config list` prints."""
    scopes = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for scope, name, value in re.findall(r"^(global|install|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
        if scopes[scope] >= found.get(name, (-1, ""))[0]:
            found[name] = scopes[scope], value
    options = []
    names = {"index-url": "--index-url", "extra-index-url": "--extra-index-url", "find-links": "--find-links"}
    names |= {"constraint": "-c", "trusted-host": "--allow-insecure-host"}
    for name, option in names.items():
        for value in re.split(r"\s+|\\n", found.get(name, (0, ""))[1]):
            is_missing = name in ("find-links", "constraint") and "://" not in value and not Path(value).exists()
            if value and not is_missing:
                options += [option, value]
    return options + (["--no-index"] if found.get("no-index", (0, ""))[1] in ("1", "true", "yes", "on") else [])


def answers(url: str) -> bool:
    """Return whether there is a page at this address."""
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310  the user's own setting, or ours
            return True
    except (OSError, ValueError):
        return False


class Progress:
    """What uv or pip has fetched, by the lines that they print."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fetched_mb = 0.0
        self._pending: dict[str, float] = {}

    def read(self, line: str) -> None:
        """Take one more line into account."""
        self.lines.append(line)
        if found := re.match(r"\s*Downloading (\S+) \(([\d.]+) ?([kKMG])i?B\)", line):
            name, number, unit = found.groups()
            self._pending[name] = float(number) * {"k": 0.001, "K": 0.001, "M": 1, "G": 1000}[unit]
            if name.endswith((".whl", ".gz")):  # pip has finished a file when it prints the next line
                self.fetched_mb += self._pending.pop(name)
        elif found := re.match(r"\s*Downloaded (\S+)", line):
            self.fetched_mb += self._pending.pop(found[1], 0)

    def __str__(self) -> str:
        what = ", ".join(list(self._pending)[:3])
        return f"{self.fetched_mb:.0f} MB downloaded" + (f", fetching {what}" if what else "")


def followed(command: list[str], what: str = "") -> str:
    """Run uv or pip and show its progress, or `what` it does. Returns: its messages if it failed, else nothing."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    progress = Progress()
    assert process.stdout  # noqa: S101  given the pipe above, for the type checker
    reader = threading.Thread(target=lambda output: [progress.read(line) for line in output], args=(process.stdout,))
    reader.start()
    shows, began_s, shown_s = sys.stderr.isatty(), time.monotonic(), 0.0
    try:
        while reader.is_alive():
            reader.join(0.5)
            now_s = time.monotonic() - began_s
            if shows:
                width = shutil.get_terminal_size().columns - 1
                print("\r\x1b[K" + f"  {now_s:.0f} s, {what or progress}"[:width], end="", file=sys.stderr, flush=True)
            elif now_s - shown_s >= 10:
                say(f"  {now_s:.0f} s, {what or progress}")
                shown_s = now_s
    except BaseException:
        process.terminate()
        raise
    finally:
        if shows:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        process.wait()
    return "" if process.returncode == 0 else "".join(progress.lines[-40:]) or f"exit code {process.returncode}"


def size_mb(folder: Path) -> int:
    """Return the megabytes that a folder takes on the disk."""
    files = (Path(top, name) for top, _, names in os.walk(folder) for name in names)
    return round(sum(path.lstat().st_blocks * 512 for path in files) / 1e6)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process sets up this folder."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process is setting this up; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a network share that does not support locks
            pass
        yield
    finally:
        os.close(lock)


def say(text: str) -> None:
    """Tell the user something, apart from the output of the command that follows."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Set up what the arguments name. Returns: the exit code."""
    gpu = os.environ.get("NIGHTSCRIBE_GPU", "") not in ("", "0")
    asked = {each for each in ",".join(sys.argv[1:]).split(",") if each} | ({"gpu"} if gpu else set())
    try:
        set_up(Project.load(ROOT, gpu=gpu), asked)
    except CannotSetUp as error:
        say(f"Error: {error}")
        return 2
    except KeyboardInterrupt:
        say("Interrupted; the next command goes on with the set-up.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
