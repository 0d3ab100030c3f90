"""A PostgreSQL server of this machine's packages, with its data in a folder, that only this process can reach."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def programs() -> Path | None:
    """The folder of the newest PostgreSQL, or None if there is none here."""
    if INSTALLED:
        return INSTALLED[0]
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def user() -> str | None:
    """The user as whom to run it, because it refuses to run as root; None for this one."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


@contextmanager
def running(bin_: Path) -> Iterator[str]:
    """Yield the beginning of the URL of its databases, to which a name is added."""
    # A socket's path may have about a hundred characters, and tmp_path has more.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    runs_as = user()
    if runs_as:
        shutil.chown(folder, runs_as)
    data, quick = folder / "data", ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "listen_addresses="]

    def call(program: str, *arguments: str) -> None:
        command = [str(bin_ / program), *arguments]
        done = subprocess.run(command, user=runs_as, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call("initdb", "-D", str(data), "--auth=trust", "--username=tester", "--encoding=UTF8", "--no-sync")
        options = " ".join([*quick, "-k", str(folder)])
        call("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://tester@/{{name}}?host={folder}"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
