"""The manifests of infra/kubernetes, rendered as a cluster would get them: valid, and of the program as it is."""

import os
import re
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support.surface import known_variables, options_of

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "infra" / "kubernetes" / "overlays"
CHART = ROOT / "infra" / "helm" / "nightscribe"
AMAZON_QUEUE = "queue.url=https://sqs.us-east-1.amazonaws.com/123456789012/nightscribe.fifo"
VERSIONS = ("1.30", "1.37")  # of Kubernetes: the oldest that is promised, and the newest whose schemas are at hand

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}


def exactly(**properties: Any) -> dict[str, Any]:
    """The schema of an object with all of these, and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


# Kubernetes' own schemas do not know KEDA. This is what KEDA 2.13 and later take as far as it is used here; the
# trigger's metadata is as its scaler for SQS reads it, all of it texts.
KEDA = {
    "ScaledObject": exactly(
        scaleTargetRef=exactly(name=TEXT),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        advanced=exactly(
            horizontalPodAutoscalerConfig=exactly(
                behavior=exactly(
                    scaleDown=exactly(
                        stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
                        policies={
                            "type": "array",
                            "items": exactly(
                                type={"enum": ["Percent", "Pods"]},
                                value={"type": "integer", "minimum": 1},
                                periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
                            ),
                        },
                    )
                )
            )
        ),
        triggers={
            "type": "array",
            "items": exactly(
                type={"const": "aws-sqs-queue"},
                authenticationRef=exactly(name=TEXT),
                metadata=exactly(
                    queueURLFromEnv=TEXT,
                    awsRegion={"type": "string", "pattern": "^[a-z]{2}(-[a-z]+)+-[0-9]$"},
                    queueLength={"type": "string", "pattern": "^[1-9][0-9]*$"},
                    scaleOnInFlight={"enum": ["true", "false"]},
                ),
            ),
        },
    ),
    "TriggerAuthentication": exactly(podIdentity=exactly(provider={"const": "aws"})),
}


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """What `kustomize build` makes of an overlay."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, OVERLAYS / overlay], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return [found for found in yaml.safe_load_all(done.stdout) if found]
    pytest.skip("neither kustomize nor kubectl is on this machine")


@cache
def chart(*values: str, enabled: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What Helm makes of the chart with these values."""
    helm = shutil.which("helm", path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if not helm:
        pytest.skip("helm is not on this machine")
    given = [each for value in values for each in ("--set-string", value)]
    given += [each for value in enabled for each in ("--set", f"{value}=true")]
    done = subprocess.run(
        [helm, "template", "nightscribe", CHART, "--namespace", "nightscribe", *given],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


@pytest.fixture(params=["buckets", "volume", "chart"])
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Everything that an overlay, or the chart, puts into a cluster."""
    return chart(AMAZON_QUEUE) if request.param == "chart" else rendered(request.param)


def the(objects: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of this kind (and name)."""
    (found,) = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def settings(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The variables that director and workers are given."""
    values: dict[str, str] = the(objects, "ConfigMap")["data"]
    return values


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pod template of director and worker."""
    job = the(objects, "CronJob", "director")["spec"]["jobTemplate"]["spec"]
    return {"director": job["template"], "worker": the(objects, "Deployment", "worker")["spec"]["template"]}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """The only container of a pod."""
    (only,) = pod["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_takes_strictly(objects: list[dict[str, Any]], version: str) -> None:
    """A field that Kubernetes does not know is a mistake, not an extra."""
    checked = [each for each in objects if each["kind"] not in KEDA]
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)
    assert {"CronJob", "Deployment", "NetworkPolicy", "PodDisruptionBudget"} <= {each["kind"] for each in checked}


def test_what_is_not_strictly_right_is_noticed(objects: list[dict[str, Any]]) -> None:
    """Or the test above could not fail."""
    worker = the(objects, "Deployment", "worker")
    wrong = worker | {"spec": worker["spec"] | {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_object_of_keda_is_what_keda_takes(objects: list[dict[str, Any]]) -> None:
    for kind, schema in KEDA.items():
        found = the(objects, kind)
        assert found["apiVersion"] == "keda.sh/v1alpha1"
        jsonschema.validate(found["spec"], schema)


def test_what_an_object_refers_to_is_there(objects: list[dict[str, Any]]) -> None:
    """Names are written on both sides of each reference."""
    scaled = the(objects, "ScaledObject")["spec"]
    assert the(objects, "Deployment", scaled["scaleTargetRef"]["name"])
    (trigger,) = scaled["triggers"]
    assert the(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])
    for pod in pods(objects).values():
        assert the(objects, "ServiceAccount", pod["spec"]["serviceAccountName"])
        config = container(pod)["envFrom"][0]["configMapRef"]["name"]
        assert the(objects, "ConfigMap", config)
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container(pod)["volumeMounts"]} == set(volumes)
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert the(objects, "PersistentVolumeClaim", claim["claimName"])
    labels = pods(objects)["worker"]["metadata"]["labels"]
    for selector in (
        the(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        the(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
        assert not selector.items() <= pods(objects)["director"]["metadata"]["labels"].items()
    (ingress,) = the(objects, "NetworkPolicy")["spec"]["ingress"]
    assert ingress["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    for pod in pods(objects).values():
        assert {port["port"] for port in ingress["ports"]} <= {port["name"] for port in container(pod)["ports"]}


def test_every_variable_is_one_that_the_program_reads(objects: list[dict[str, Any]]) -> None:
    named = set(settings(objects))
    assert named <= known_variables() | {"AWS_DEFAULT_REGION"}
    assert {"NIGHTSCRIBE_SOURCE", "NIGHTSCRIBE_DEST", "NIGHTSCRIBE_QUEUE_NAME"} <= named


def test_every_command_is_one_that_the_program_has(objects: list[dict[str, Any]]) -> None:
    for name, pod in pods(objects).items():
        command, *options = container(pod)["args"]
        assert command == name
        assert set(options) <= options_of(command)
    for probe in ("startupProbe", "livenessProbe"):
        program, command = container(pods(objects)["worker"])[probe]["exec"]["command"]
        assert program == "nightscribe"
        assert options_of(command)


def test_the_images_are_those_that_the_dockerfile_makes(objects: list[dict[str, Any]]) -> None:
    """And of one version: director and workers must agree about what a job is."""
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    tags = set()
    for pod in pods(objects).values():
        name, _, tag = container(pod)["image"].rpartition(":")
        assert re.search(rf" AS {name.rpartition('/')[2]}$", dockerfile, re.MULTILINE)
        tags.add(tag)
    assert len(tags) == 1
    assert tags != {"latest"}


def test_the_scaler_asks_the_queue_that_the_workers_take_from(objects: list[dict[str, Any]]) -> None:
    (trigger,) = the(objects, "ScaledObject")["spec"]["triggers"]
    url = settings(objects)[trigger["metadata"]["queueURLFromEnv"]]
    assert url.startswith("https://"), "KEDA asks by URL"
    assert url.endswith(".fifo")
    assert trigger["metadata"]["awsRegion"] == settings(objects)["AWS_DEFAULT_REGION"]
    assert trigger["metadata"]["scaleOnInFlight"] == "true", "a worker that has taken the last job would be removed"
    assert trigger["metadata"]["queueLength"] == "1", "workers that are all busy would be too many"


def test_nobody_works_where_there_is_nothing_to_do(objects: list[dict[str, Any]]) -> None:
    """And a number of replicas beside it would undo what the scaler did with each `kubectl apply`."""
    assert the(objects, "ScaledObject")["spec"]["minReplicaCount"] == 0
    assert "replicas" not in the(objects, "Deployment")["spec"]


def test_a_pod_can_do_nothing_but_its_work(objects: list[dict[str, Any]]) -> None:
    """What the namespace's `restricted` standard asks for, and a root file system that cannot be written to."""
    for namespace in (each for each in objects if each["kind"] == "Namespace"):  # Helm makes it itself
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(objects).values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["spec"]["automountServiceAccountToken"]
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {m["mountPath"] for m in container(pod)["volumeMounts"] if not m.get("readOnly")}
        assert writable <= {"/tmp", "/dest"}


def test_whoever_hangs_is_ended(objects: list[dict[str, Any]]) -> None:
    """The director as well: while it is there, no other is started."""
    for pod in pods(objects).values():
        for probe in ("startupProbe", "livenessProbe"):
            assert container(pod)[probe]["exec"]["command"] == ["nightscribe", "health"]


def test_the_cache_fits_into_its_volume(objects: list[dict[str, Any]]) -> None:
    """Whoever outgrows an emptyDir is evicted in the middle of a job."""
    for pod in pods(objects).values():
        (scratch,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "scratch"]
        size = scratch["emptyDir"]["sizeLimit"]
        assert size.endswith("Gi")
        assert float(settings(objects)["NIGHTSCRIBE_CACHE_GB"]) <= float(size.removesuffix("Gi")) / 2


def test_metrics_are_where_prometheus_is_told_to_look(objects: list[dict[str, Any]]) -> None:
    port = settings(objects)["NIGHTSCRIBE_METRICS_PORT"]
    for pod in pods(objects).values():
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == port
        assert [str(each["containerPort"]) for each in container(pod)["ports"]] == [port]


def test_places_are_mounted_where_the_settings_say() -> None:
    """The source cannot be written to."""
    objects = rendered("volume")
    for pod in pods(objects).values():
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container(pod)["volumeMounts"]}
        assert mounts[settings(objects)["NIGHTSCRIBE_SOURCE"]] is True
        assert mounts[settings(objects)["NIGHTSCRIBE_DEST"]] is False


def plain(value: Any) -> Any:
    """Return an object without what only one of the two tools adds: labels, checksums, and hashes in names."""
    if isinstance(value, dict):
        left_out = ("app.kubernetes.io/", "checksum/", "imagePullPolicy", "labels", "namespace")
        kept = {key: plain(each) for key, each in value.items() if not key.startswith(left_out) or "Selector" in key}
        return {key: each for key, each in kept.items() if (key, each) != ("metadata", {})}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return re.sub(r"^settings-\w+$", "settings", value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("overlay", "values"),
    [
        ("buckets", ()),
        ("volume", ("source=/source", "dest=/dest", "volumes.source=recordings", "volumes.dest=transcripts")),
    ],
)
def test_the_chart_makes_what_kustomize_makes(overlay: str, values: tuple[str, ...]) -> None:
    registry = "images.registry=123456789012.dkr.ecr.us-east-1.amazonaws.com/nightscribe"
    by_helm = {(each["kind"], plain(each["metadata"]["name"])): each for each in chart(AMAZON_QUEUE, registry, *values)}
    by_kustomize = {(each["kind"], plain(each["metadata"]["name"])): each for each in rendered(overlay)}
    only_there = {key for key in by_kustomize if key[0] in ("Namespace", "PersistentVolumeClaim")}
    assert set(by_helm) == set(by_kustomize) - only_there
    for key, each in by_helm.items():
        assert plain(each) == plain(by_kustomize[key])


def test_the_chart_can_bring_its_own_queue() -> None:
    objects = chart()
    for each in objects:
        if each["kind"] not in KEDA:
            kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    pod = the(objects, "Deployment", "queue")["spec"]["template"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container(pod)["securityContext"]["readOnlyRootFilesystem"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["queue"]
    assert container(pod)["image"] in compose["image"]
    given = {each["name"]: each["value"] for each in container(pod)["env"]}
    assert {name: str(value) for name, value in compose["environment"].items()}.items() <= given.items()
    service = the(objects, "Service", "queue")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    address = f"http://queue:{service['ports'][0]['port']}"
    assert settings(objects)["AWS_ENDPOINT_URL_SQS"] == address
    assert settings(objects)["NIGHTSCRIBE_QUEUE_NAME"].startswith(address)
    (trigger,) = the(objects, "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["awsEndpoint"] == "http://queue.nightscribe:4566"
    secret = the(objects, "Secret", "queue-keys")
    for each in pods(objects).values():
        assert container(each)["envFrom"][1]["secretRef"]["name"] == "queue-keys"
    for reference in the(objects, "TriggerAuthentication")["spec"]["secretTargetRef"]:
        assert reference["name"] == "queue-keys" and reference["key"] in secret["stringData"]


def test_the_chart_can_bring_the_server() -> None:
    """Several replicas, apart from each other, reached from the ingress controller only."""
    objects = chart("server.host=talks.example.org", "server.ingressClass=nginx", enabled=("server.enabled",))
    for each in objects:
        if each["kind"] not in KEDA:
            kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    server = the(objects, "Deployment", "server")["spec"]
    pod = server["template"]
    assert server["replicas"] == 3
    (rule,) = pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert rule["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    command, *options = container(pod)["args"]
    assert set(options[:-1]) <= options_of(command) and options[-1] == settings(objects)["NIGHTSCRIBE_DEST"]
    assert {each["name"] for each in container(pod)["env"]} <= known_variables()
    assert re.search(r" AS server$", (ROOT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
    service = the(objects, "Service", "server")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["sessionAffinity"] == "ClientIP", "an upload is resumed where its beginning is"
    backend = the(objects, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    policy = the(objects, "NetworkPolicy", "server")["spec"]
    (ingress,) = policy["ingress"]
    assert ingress["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
    interactive = the(objects, "Deployment", "worker-interactive")["spec"]
    assert interactive["replicas"] == 1
    assert set(container(interactive["template"])["args"][1:]) <= options_of("worker")


@pytest.mark.parametrize("missing", ["source", "dest"])
def test_the_chart_says_what_is_missing(missing: str) -> None:
    with pytest.raises(AssertionError, match=f"Set `{missing}`"):
        chart(f"{missing}=")


def set_up(tmp_path: Path, **environment: str) -> list[str]:
    """Return the commands with which setup.sh installs everything."""
    (tmp_path / "values.yaml").touch()
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    for program in ("helm", "kubectl"):
        if not shutil.which(program, path=path):
            pytest.skip(f"{program} is not on this machine")
    done = subprocess.run(
        [ROOT / "infra/kubernetes/setup.sh", tmp_path / "values.yaml"],
        env={"PATH": path, "DRY_RUN": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sesame" not in done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(("helm", "kubectl"))]


def test_the_whole_is_installed_with_pinned_versions_and_no_secret_is_shown(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "sesame", "DATABASE_URL": "postgresql://u:sesame@h/d"}
    commands = set_up(tmp_path, **keys)
    installed = {line.split()[3]: line for line in commands if line.startswith("helm upgrade --install")}
    assert list(installed) == ["keda", "prometheus", "jaeger", "nightscribe"]
    for name in ("keda", "prometheus", "jaeger"):
        assert re.search(r"--repo https://\S+ --version \d+\.\d+\.\d+", installed[name])
    named = [Path(each) for line in commands for each in re.findall(r"--values (\S+)", line)]
    assert named and all(path.exists() for path in named)


def test_monitoring_may_be_left_out(tmp_path: Path) -> None:
    assert not [line for line in set_up(tmp_path, MONITORING="0") if "--namespace monitoring" in line]


def test_prometheus_and_the_network_policy_agree_about_namespaces(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "infra/kubernetes/monitoring/prometheus.yaml").read_text())
    (scraped,) = values["prometheus"]["prometheusSpec"]["additionalScrapeConfigs"]
    assert scraped["kubernetes_sd_configs"][0]["namespaces"]["names"] == ["nightscribe"]
    (prometheus,) = [line for line in set_up(tmp_path) if "kube-prometheus-stack" in line]
    policy = the(chart(AMAZON_QUEUE), "NetworkPolicy")["spec"]["ingress"][0]["from"][0]["namespaceSelector"]
    assert f"--namespace {policy['matchLabels']['kubernetes.io/metadata.name']} " in prometheus
