"""Pipelines and releases: each step is a script, actions are pinned, and a release changes what it must."""

import datetime
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightscribe._version import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
JOBS = {f"{name}: {job}": each for name, workflow in WORKFLOWS.items() for job, each in workflow["jobs"].items()}
JENKINSFILE = (ROOT / "Jenkinsfile").read_text()
COMMANDS = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step] + re.findall(
    r"sh '(.*)'", JENKINSFILE
)
DAY = datetime.date(2030, 1, 2)
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n{new}## [0.0.1] - 2000-01-01\n\n- Old.\n"

spec = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
assert spec and spec.loader
RELEASE = importlib.util.module_from_spec(spec)
spec.loader.exec_module(RELEASE)


def test_the_pipelines_are_found() -> None:
    assert set(WORKFLOWS) == {"test.yml", "release.yml", "nightly.yml"}
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_each_step_is_a_script_of_the_repository(command: str) -> None:
    if command.startswith(("docker logout", "echo ")):  # Jenkins: in and out of the registry
        return
    script = ROOT / command.split()[0]
    assert script.is_file() and os.access(script, os.X_OK), command


@pytest.mark.parametrize("name", JOBS)
def test_jobs_may_do_little_and_end(name: str) -> None:
    assert WORKFLOWS[name.partition(":")[0]]["permissions"] == {"contents": "read"}
    assert JOBS[name]["timeout-minutes"] <= 180


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_their_commit(name: str) -> None:
    lines = [line for line in (ROOT / ".github/workflows" / name).read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+$", line), line


def test_no_password_stays_in_a_checkout() -> None:
    checkouts = [step for job in JOBS.values() for step in job["steps"] if "actions/checkout@" in step.get("uses", "")]
    assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_every_supported_python_is_tested() -> None:
    classifiers = re.findall(r'Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert WORKFLOWS["test.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"] == classifiers


def test_images_of_another_registry_are_put_into_an_overlay() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on this machine")
    environment = {**os.environ, "DRY_RUN": "1", "REGISTRY": "registry.example.com/team", "VERSION": "9.8.7"}
    done = subprocess.run(
        [ROOT / ".ci/deploy-kubernetes", "buckets"], env=environment, capture_output=True, text=True, check=True
    )
    images = re.findall(r"image: (.*)", done.stdout)
    assert set(images) == {f"registry.example.com/team/nightscribe/{each}:9.8.7" for each in ("director", "worker")}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for path in ("CHANGELOG.md", RELEASE.VERSION_FILE, *RELEASE.IMAGE_TAGS):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.format(new="- A change.\n\n"))
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run(
            ["git", "-c", "user.name=test", "-c", "user.email=test@example.com", *command], cwd=tmp_path, check=True
        )
    return tmp_path


def test_a_release_changes_the_version_everywhere_and_dates_the_changelog(repository: Path) -> None:
    changed = RELEASE.changes(repository, "99.0.1", DAY)
    assert set(changed) == {"CHANGELOG.md", RELEASE.VERSION_FILE, *RELEASE.IMAGE_TAGS}
    assert changed["CHANGELOG.md"] == CHANGELOG.format(new="## [99.0.1] - 2030-01-02\n\n- A change.\n\n")
    for path in (RELEASE.VERSION_FILE, *RELEASE.IMAGE_TAGS):
        assert "99.0.1" in changed[path] and __version__ not in changed[path]


def test_a_dry_run_changes_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RELEASE.release(repository, "99.0.1", DAY, dry_run=True)
    assert "Nothing was changed" in capsys.readouterr().out
    assert not RELEASE.git(repository, "status", "--porcelain") and not RELEASE.git(repository, "tag")


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1.0", "is not a version"),
        (__version__, "is not later"),
        ("0.0.1", "is not later"),
        ("v9.0.0", "is not a version"),
    ],
)
def test_a_version_must_be_a_later_one(repository: Path, version: str, reason: str) -> None:
    with pytest.raises(RELEASE.ReleaseError, match=reason):
        RELEASE.release(repository, version, DAY, dry_run=True)


def spoil_changelog(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text(CHANGELOG.format(new=""))


def spoil_tree(repository: Path) -> None:
    (repository / "new").touch()


def spoil_tags(repository: Path) -> None:
    subprocess.run(["git", "tag", "v99.0.1"], cwd=repository, check=True)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(spoil_changelog, "no unreleased changes"), (spoil_tree, "not committed"), (spoil_tags, "exists already")],
)
def test_nothing_is_released_from_a_repository_that_is_not_ready(repository: Path, spoil: Any, reason: str) -> None:
    spoil(repository)
    with pytest.raises(RELEASE.ReleaseError, match=reason):
        RELEASE.release(repository, "99.0.1", DAY, dry_run=False)
    assert __version__ in (repository / RELEASE.VERSION_FILE).read_text()
