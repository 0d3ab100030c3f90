"""Make a release: set the version, date the changelog, build the wheel, commit and tag.

It pushes nothing. It ends by printing the commands that do.
"""

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION_FILE = "nightscribe/_version.py"
# Files that name the images of a version, and what precedes the version there.
IMAGE_TAGS = {
    "infra/helm/nightscribe/Chart.yaml": "ersion: ",
    "infra/kubernetes/overlays/buckets/kustomization.yaml": "newTag: ",
    "infra/kubernetes/overlays/volume/kustomization.yaml": "newTag: ",
    "infra/terraform/terraform.tfvars.example": 'image_tag = "',
}
SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class ReleaseError(Exception):
    """What stands in the way of a release, as a sentence."""


def main() -> None:
    """Make a release from the command line."""
    parser = argparse.ArgumentParser(prog="./build.sh release", description=__doc__)
    parser.add_argument("version", help="the new version, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    given = parser.parse_args()
    try:
        release(ROOT, given.version, datetime.date.today(), dry_run=given.dry_run)  # noqa: DTZ011  the changelog's day
    except ReleaseError as error:
        sys.exit(f"Error: {error}")


def release(root: Path, version: str, day: datetime.date, *, dry_run: bool) -> None:
    """Change the files of a repository, build its wheel, commit and tag.

    Raises: ReleaseError: if something stands in the way, before anything is changed.
    """
    changed = changes(root, version, day)
    if git(root, "status", "--porcelain"):
        raise ReleaseError("There are changes that are not committed. Commit or discard them first.")
    if git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"The tag v{version} exists already.")
    for path in changed:
        print(f"  {path}")
    if dry_run:
        print(f"Version {version} would change these files. Nothing was changed.")
        return
    for path, content in changed.items():
        (root / path).write_text(content, encoding="utf-8")
    run(root, sys.executable, "-m", "build", "--outdir", f"dist/{version}")
    run(root, "git", "commit", "--quiet", "--message", f"Release {version}", *changed)
    run(root, "git", "tag", "--annotate", "--message", f"nightscribe {version}", f"v{version}")
    print(f"Version {version} is committed and tagged, and its wheel is in dist/{version}.")
    print(f"To publish it: git push origin HEAD v{version}")


def changes(root: Path, version: str, day: datetime.date) -> dict[str, str]:
    """Return the new content of each file that a release changes.

    Raises: ReleaseError: if the version is not a later one, or the changelog has nothing to release.
    """
    before = re.search(r'__version__ = "(.*)"', (root / VERSION_FILE).read_text(encoding="utf-8"))
    assert before  # noqa: S101  a test reads it
    if not SEMVER.fullmatch(version):
        raise ReleaseError(f"{version!r} is not a version. Give three numbers, such as 0.2.0.")
    if numbers(version) <= numbers(before[1]):
        raise ReleaseError(f"{version} is not later than {before[1]}, the present version.")
    found = {"CHANGELOG.md": dated(root, version, day)}
    for path, prefix in {VERSION_FILE: '__version__ = "', **IMAGE_TAGS}.items():
        old = (root / path).read_text(encoding="utf-8")
        found[path] = old.replace(prefix + before[1], prefix + version)
        if found[path] == old:
            raise ReleaseError(f"{path} does not name version {before[1]}.")
    return found


def dated(root: Path, version: str, day: datetime.date) -> str:
    """Return the changelog with its unreleased changes under a version and a date."""
    content = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", content, re.MULTILINE | re.DOTALL)
    if not unreleased or not unreleased[1].strip():
        raise ReleaseError("CHANGELOG.md lists no unreleased changes.")
    heading = f"## [Unreleased]\n\n## [{version}] - {day.isoformat()}\n"
    return content[: unreleased.start()] + heading + unreleased[1] + content[unreleased.end() :]


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(int(each) for each in version.split("."))


def git(root: Path, *arguments: str) -> str:
    """Return what a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(root: Path, *command: str) -> None:
    """Run a command, or raise `ReleaseError` if it fails."""
    if subprocess.run(command, cwd=root, check=False).returncode:
        raise ReleaseError(f"{' '.join(command)} failed; the files are changed, but nothing is committed or tagged.")


if __name__ == "__main__":
    main()
