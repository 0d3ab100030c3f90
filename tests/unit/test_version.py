"""The version is stated in one file, and everything else follows it."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from nightscribe._version import __version__
from nightscribe.cli.main import cli

ROOT = Path(__file__).parents[2]
IMAGE_TAGS = (
    "infra/helm/nightscribe/Chart.yaml",
    "infra/kubernetes/overlays/buckets/kustomization.yaml",
    "infra/kubernetes/overlays/volume/kustomization.yaml",
    "infra/terraform/terraform.tfvars.example",
)


def test_the_command_and_the_installation_state_the_version_of_the_file() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output.split()[-1] == __version__
    assert importlib.metadata.version("nightscribe") == __version__


@pytest.mark.parametrize("path", IMAGE_TAGS)
def test_deployments_name_the_image_of_this_version(path: str) -> None:
    tags = re.findall(r'(?:newTag: |[vV]ersion: |image_tag = ")([\d.]+)', (ROOT / path).read_text())
    assert set(tags) == {__version__}
