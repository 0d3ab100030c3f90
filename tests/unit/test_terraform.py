"""What infra/terraform makes, as Terraform itself says it: without an account, compared with the program as it is."""

import json
import math
import os
import re
import shutil
import subprocess
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from making import job
from structlog.testing import capture_logs
from support.servers import SqsServer
from support.surface import known_variables, options_of
from support.workplace import received

from nightscribe.shared.model.jobs import Job
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.s3 import objects as bucket

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra" / "terraform"
DIGITAL_OCEAN = TERRAFORM / "digitalocean"
TEMPLATE = ROOT / "infra" / "create_queue.json"
ROLES = ("director", "worker")

State = dict[str, dict[str, Any]]


def plugins(folder: Path = TERRAFORM) -> Path:
    """The folder that has the provider of a module, unpacked; init links to it instead of copying 700 MB."""
    found = re.search(r'source  = "([a-z/]+)"\n    +version = "([0-9.]+)"', (folder / "main.tf").read_text())
    assert found, "the provider is pinned"
    provider, version = found.groups()
    homes = [
        Path.home() / ".terraform.d" / "plugins",
        *(Path(folder, "terraform", "plugins") for folder in ("/usr/share", "/usr/local/share")),
        *Path("/opt").glob("*"),
    ]
    for home in homes:
        if any(home.glob(f"registry.terraform.io/{provider}/{version}/*/terraform-provider-*")):
            return home
    pytest.skip(f"version {version} of Terraform's provider {provider} is not on this machine")


def terraform(*arguments: str, folder: Path = TERRAFORM) -> "subprocess.CompletedProcess[str]":
    """Run it without a network, an account or the settings of whoever runs the tests."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not on this machine")
    foreign = ("TF_", "AWS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        ["terraform", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def terraform_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """For each run of tests/fleet.tftest.hcl what Terraform would have made: values by address."""
    folder = tmp_path_factory.mktemp("fleet") / "infra" / "terraform"
    shutil.copytree(TERRAFORM, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars"))
    shutil.copy(TEMPLATE, folder.parent)
    init = terraform("init", "-backend=false", "-input=false", f"-plugin-dir={plugins()}", folder=folder)
    assert init.returncode == 0, init.stdout + init.stderr
    tested = terraform("test", "-json", "-verbose", folder=folder)
    said = [json.loads(line) for line in tested.stdout.splitlines()]
    assert tested.returncode == 0, "\n".join(each["@message"] for each in said) + tested.stderr
    return {
        each["@testrun"]: {
            found["address"]: found["values"] for found in each["test_state"]["root_module"]["resources"]
        }
        for each in said
        if each["type"] == "test_state"
    }


@pytest.fixture(params=["scheduled", "watch"])
def made(terraform_runs: dict[str, State], request: pytest.FixtureRequest) -> State:
    """What is made as `scheduled` with nothing but the defaults, and as `watch` with nearly everything else."""
    return terraform_runs[request.param]


def container(made: State, role: str) -> dict[str, Any]:
    """How director or worker is started."""
    (only,) = json.loads(made[f'aws_ecs_task_definition.this["{role}"]']["container_definitions"])
    found: dict[str, Any] = only
    return found


def environment(made: State, role: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(made, role)["environment"]}


def statements(made: State, address: str) -> dict[str, dict[str, Any]]:
    """Of a policy, by what each is called."""
    return {each["Sid"]: each for each in json.loads(made[address]["policy"])["Statement"]}


def test_the_files_are_as_terraform_formats_them() -> None:
    done = terraform("fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout


def test_the_examples_set_variables_that_there_are() -> None:
    declared = set(re.findall(r'^variable "(\w+)"', (TERRAFORM / "variables.tf").read_text(), re.MULTILINE))
    example = (TERRAFORM / "terraform.tfvars.example").read_text()
    used = set(re.findall(r"^(?:# )?(\w+) += ", example, re.MULTILINE))
    used |= set(re.findall(r"-var '?(\w+)=", (ROOT / "docs" / "aws.md").read_text()))
    assert {"image_tag", "director"} <= used <= declared


# The queue


@pytest.fixture
def queue_name(made: State, ministack: SqsServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The queue as Terraform makes it, made on a real server."""
    for name, value in ministack.environment.items():
        monkeypatch.setenv(name, value)
    client = ministack.client()
    asked = {
        "fifo_queue": "FifoQueue",
        "content_based_deduplication": "ContentBasedDeduplication",
        "deduplication_scope": "DeduplicationScope",
        "fifo_throughput_limit": "FifoThroughputLimit",
        "visibility_timeout_seconds": "VisibilityTimeout",
        "message_retention_seconds": "MessageRetentionPeriod",
        "receive_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
    }
    urls = {}
    for key in ("dead", "jobs"):
        values = made[f'aws_sqs_queue.this["{key}"]']
        attributes = {name: str(values[field]) for field, name in asked.items()}
        attributes |= {name: value.lower() for name, value in attributes.items() if value in ("True", "False")}
        urls[key] = client.create_queue(QueueName=values["name"], Attributes=attributes)["QueueUrl"]
    dead = client.get_queue_attributes(QueueUrl=urls["dead"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.loads(made["aws_sqs_queue_redrive_policy.jobs"]["redrive_policy"])
    assert redrive["deadLetterTargetArn"].endswith(":" + made['aws_sqs_queue.this["dead"]']["name"])
    policy = json.dumps(redrive | {"deadLetterTargetArn": dead})
    client.set_queue_attributes(QueueUrl=urls["jobs"], Attributes={"RedrivePolicy": policy})
    client.purge_queue(QueueUrl=urls["jobs"])
    name: str = made['aws_sqs_queue.this["jobs"]']["name"]
    return name


def opened(made: State, name: str) -> JobQueue:
    given = environment(made, "worker")
    return connect(
        name,
        visibility_timeout_s=float(given["NIGHTSCRIBE_VISIBILITY_TIMEOUT_S"]),
        max_receives=int(given["NIGHTSCRIBE_MAX_RECEIVES"]),
    )


def test_the_program_finds_the_queue_as_it_would_have_made_it(made: State, queue_name: str) -> None:
    """Its attributes stand in one file for both; no warning that one differs, and no queue that had to be made."""
    with capture_logs() as logs:
        queue = opened(made, queue_name)
        queue.ensure()
    assert logs == []
    assert queue.dead_letter_name == made['aws_sqs_queue.this["dead"]']["name"]


def test_queues_are_encrypted_and_reached_by_tls_alone(made: State) -> None:
    for key in ("jobs", "dead"):
        assert made[f'aws_sqs_queue.this["{key}"]']["sqs_managed_sse_enabled"]
        deny = statements(made, f'aws_sqs_queue_policy.tls_only["{key}"]')["TlsOnly"]
        assert (deny["Effect"], deny["Action"]) == ("Deny", "sqs:*")
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# Who may do what


class Calls:
    """What one side asks of SQS: the permissions it needs, by queue."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.needed: dict[str, set[str]] = defaultdict(set)
        queue._client.meta.events.register("provide-client-params.sqs", self._noted)

    def _noted(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        slice_ = params.get("QueueName") or params["QueueUrl"]
        self.needed["Dead" if slice_.endswith("-dead.fifo") else "Jobs"].add(f"sqs:{model.name.removesuffix('Batch')}")


def jobs(n: int) -> list[Job]:
    return [job().model_copy(update={"redo": f"{number}"}) for number in range(n)]


def methods_used_by(package: str) -> set[str]:
    """What this side calls of the queue, as its code says."""
    text = "\n".join(path.read_text() for path in (ROOT / package).rglob("*.py"))
    return set(re.findall(r"\bqueue\.(\w+)\(", text)) & set(dir(JobQueue)) - {"is_trusted"}  # which calls nothing


def test_each_role_may_do_with_the_queue_what_its_code_does_and_no_more(made: State, queue_name: str) -> None:
    """A call that is new in the code fails here before it is refused on AWS."""
    director, worker = Calls(opened(made, queue_name)), Calls(opened(made, queue_name))

    director.queue.ensure()
    director.queue.send(jobs(3), uuid.uuid4().hex)
    worker.queue.find()  # which is what a worker's `ensure` does on AWS
    delivery = received(worker.queue)
    worker.queue.change_visibility(delivery, 30)
    worker.queue.requeue(delivery)
    aside = received(worker.queue)
    worker.queue.dead_letter(aside, aside.body, "It is a test.")
    worker.queue.delete(received(worker.queue))
    worker.queue.counts()
    director.queue.counts()
    director.queue.dead_counts()
    for letter in director.queue.dead_letters():
        director.queue.delete_dead_letter(letter)

    assert methods_used_by("director") <= {
        "ensure",
        "send",
        "counts",
        "dead_counts",
        "dead_letters",
        "delete_dead_letter",
    }
    assert methods_used_by("worker") <= {
        "ensure", "receive", "change_visibility", "requeue", "dead_letter", "delete", "counts",
    }  # fmt: skip
    for role, calls in (("director", director), ("worker", worker)):
        allowed = statements(made, f'aws_iam_role_policy.task["{role}"]')
        assert {sid: set(allowed[sid]["Action"]) for sid in ("Jobs", "Dead")} == calls.needed


def test_each_role_may_do_with_buckets_what_the_code_does_and_no_more(made: State) -> None:
    """Recordings are only ever read."""
    for role in ROLES:
        allowed = statements(made, f'aws_iam_role_policy.task["{role}"]')
        assert set(allowed["ReadRecordings"]["Action"]) == {"s3:GetObject"}
        both = set(allowed["List"]["Action"]) | set(allowed["KeepTranscripts"]["Action"])
        assert both == set(bucket._ACTIONS.values())
        source, dest = (environment(made, role)[f"NIGHTSCRIBE_{name}"] for name in ("SOURCE", "DEST"))
        assert allowed["ReadRecordings"]["Resource"] == [f"arn:aws:s3:::{source.removeprefix('s3://')}/*"]
        assert allowed["KeepTranscripts"]["Resource"] == [f"arn:aws:s3:::{dest.removeprefix('s3://')}/*"]
        names = [bucket.Bucket.parse(place).name for place in (source, dest)]
        assert allowed["List"]["Resource"] == [f"arn:aws:s3:::{name}" for name in names]


def test_who_may_take_a_role_is_said_as_amazon_documents_it(made: State) -> None:
    """A service for this account alone; but for what starts tasks no condition is documented that would be met."""
    roles = {
        address.removeprefix("aws_iam_role."): values for address, values in made.items() if "iam_role." in address
    }
    assert set(roles) >= {'task["director"]', 'task["worker"]', "start"}
    for name, values in roles.items():
        [statement] = json.loads(values["assume_role_policy"])["Statement"]
        service = "scheduler.amazonaws.com" if name == "schedule[0]" else "ecs-tasks.amazonaws.com"
        assert statement["Principal"] == {"Service": service}
        of_this_account = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
        assert statement.get("Condition") == (None if name == "start" else of_this_account), name


def test_nobody_may_do_everything(made: State) -> None:
    for address, values in made.items():
        if address.startswith("aws_iam_role_policy."):
            for statement in json.loads(values["policy"])["Statement"]:
                assert not any("*" in action for action in statement["Action"]), address
                if statement["Resource"] == ["*"]:
                    assert statement["Action"] in (["ecr:GetAuthorizationToken"], ["ecs:TagResource"])


def test_a_key_of_ones_own_may_be_used_by_both(terraform_runs: dict[str, State]) -> None:
    for role in ROLES:
        assert "Key" not in statements(terraform_runs["scheduled"], f'aws_iam_role_policy.task["{role}"]')
        key = statements(terraform_runs["watch"], f'aws_iam_role_policy.task["{role}"]')["Key"]
        assert key["Resource"] == ["arn:aws:kms:us-east-1:123456789012:key/0a"]
        assert set(key["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}


def test_the_document_names_every_permission(made: State) -> None:
    document = (ROOT / "docs" / "aws.md").read_text()
    for role in ROLES:
        for statement in statements(made, f'aws_iam_role_policy.task["{role}"]').values():
            for action in statement["Action"]:
                assert f"`{action}`" in document


# The buckets


def test_buckets_are_encrypted_private_and_reached_by_tls_alone(made: State) -> None:
    names = re.findall(r'aws_s3_bucket\.this\["(\w+)"\]', "\n".join(made))
    assert "transcripts" in names
    for name in names:
        blocked = made[f'aws_s3_bucket_public_access_block.this["{name}"]']
        for what in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"):
            assert blocked[what]
        (rule,) = made[f'aws_s3_bucket_server_side_encryption_configuration.this["{name}"]']["rule"]
        assert rule["apply_server_side_encryption_by_default"][0]["sse_algorithm"] in ("AES256", "aws:kms")
        deny = statements(made, f'aws_s3_bucket_policy.tls_only["{name}"]')["TlsOnly"]
        assert (deny["Effect"], deny["Action"]) == ("Deny", "s3:*")


def test_nothing_that_is_there_ever_expires(made: State) -> None:
    """Parts of a recording that is not finished least of all, however long that takes."""
    addresses = [address for address in made if address.startswith("aws_s3_bucket_lifecycle_configuration.")]
    assert addresses
    for address in addresses:
        for rule in made[address]["rule"]:
            for expiration in rule["expiration"]:
                assert not expiration["days"]
                assert not expiration["date"]


# What is started


def test_every_variable_is_one_that_the_program_reads_and_takes(made: State, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ROLES:
        given = environment(made, role)
        assert set(given) <= known_variables() | {"AWS_DEFAULT_REGION"}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.visibility_timeout_s == made['aws_sqs_queue.this["jobs"]']["visibility_timeout_seconds"]
        assert settings.queue_name == made['aws_sqs_queue.this["jobs"]']["name"]


def test_threads_and_cache_fit_what_the_task_is_given(made: State) -> None:
    task = made['aws_ecs_task_definition.this["worker"]']
    given = environment(made, "worker")
    assert int(given["NIGHTSCRIBE_THREADS"]) * 1024 == int(task["cpu"])
    assert float(given["NIGHTSCRIBE_CACHE_GB"]) < task["ephemeral_storage"][0]["size_in_gib"] - 10


@pytest.mark.parametrize(("run", "command"), [("scheduled", ["director"]), ("watch", ["director", "--watch"])])
def test_commands_are_those_that_the_program_has(
    terraform_runs: dict[str, State], run: str, command: list[str]
) -> None:
    assert container(terraform_runs[run], "director")["command"] == command
    assert container(terraform_runs[run], "worker")["command"] == ["worker"]
    for role in ROLES:
        name, *options = container(terraform_runs[run], role)["command"]
        assert set(options) <= options_of(name)
        _, program, asked = container(terraform_runs[run], role)["healthCheck"]["command"]
        assert program == "nightscribe"
        assert options_of(asked)


def test_the_images_are_those_that_the_dockerfile_makes(made: State) -> None:
    """And /tmp, the only place that a task may write to, is declared there: Fargate takes its owner from the image."""
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    for role in ROLES:
        assert re.search(rf"^FROM .* AS {role}$", dockerfile, re.MULTILINE)
        assert made[f'aws_ecr_repository.this["{role}"]']["image_tag_mutability"] == "IMMUTABLE"
        started = container(made, role)
        assert started["readonlyRootFilesystem"]
        assert started["user"] == "1000:1000"
        (mount,) = started["mountPoints"]
        assert f'VOLUME ["{mount["containerPath"]}"]' in dockerfile


# How many workers


def answer(expression: str, **metrics: float) -> float:
    """What CloudWatch makes of an expression."""
    text = re.sub(r"\bIF\(", "_if(", expression).replace("AND", "and")
    functions = {"_if": lambda condition, yes, no: yes if condition else no, "CEIL": math.ceil}
    return float(eval(text, {"__builtins__": {}}, functions | metrics))


def workers_wanted(made: State, policy: str, n_workers: int, **metrics: float) -> int:
    """What a policy sets, if its alarm goes off, the number of workers to."""
    alarm = made[f'aws_cloudwatch_metric_alarm.scaling["{policy}"]']
    (expression,) = [query["expression"] for query in alarm["metric_query"] if query["expression"]]
    assert {query["id"] for query in alarm["metric_query"] if query["metric"]} <= set(metrics)
    value = answer(expression, **metrics)
    if value < alarm["threshold"]:
        return n_workers
    (rules,) = made[f'aws_appautoscaling_policy.workers["{policy}"]']["step_scaling_policy_configuration"]
    above = value - alarm["threshold"]
    (step,) = [
        step
        for step in rules["step_adjustment"]
        if float(step["metric_interval_lower_bound"]) <= above < float(step["metric_interval_upper_bound"] or math.inf)
    ]
    change = int(step["scaling_adjustment"])
    target = made["aws_appautoscaling_target.workers"]
    wanted = {
        "ExactCapacity": change,
        "ChangeInCapacity": n_workers + change,
        "PercentChangeInCapacity": n_workers + min(-1, math.ceil(n_workers * change / 100)),
    }[rules["adjustment_type"]]
    return max(target["min_capacity"], min(target["max_capacity"], wanted))


def test_as_many_workers_are_started_as_there_is_work_for(made: State) -> None:
    """Within a few rounds, from whatever number, and never more."""
    most = made["aws_appautoscaling_target.workers"]["max_capacity"]
    for n_jobs in range(200):
        now, rounds = 0, []
        while now not in rounds:
            rounds.append(now)
            held = min(now, n_jobs)
            now = workers_wanted(made, "grow", now, waiting=n_jobs - held, held=held)
        assert now == min(most, math.ceil(n_jobs / 4))
        assert len(rounds) <= 6


def test_a_worker_that_is_there_is_never_stopped_because_there_is_more_to_do(made: State) -> None:
    """Whatever the queue says of that minute: a burst is seen before those who are idle have taken it."""
    most = made["aws_appautoscaling_target.workers"]["max_capacity"]
    for there in range(most + 1):
        for held in range(there + 1):
            for waiting in range(0, 100, 7):
                assert workers_wanted(made, "grow", there, waiting=waiting, held=held) >= there


def test_the_first_job_starts_the_first_worker(made: State) -> None:
    """Which a rule that divides by the number of workers would not."""
    assert workers_wanted(made, "grow", 0, waiting=1, held=0) == 1
    assert workers_wanted(made, "grow", 0, waiting=0, held=0) == 0


def test_workers_go_when_nothing_waits_and_nothing_is_in_hand(made: State) -> None:
    assert workers_wanted(made, "empty", 5, waiting=0, held=0) == 0
    assert workers_wanted(made, "empty", 5, waiting=0, held=1) == 5
    assert workers_wanted(made, "empty", 5, waiting=1, held=0) == 5


def test_half_of_those_who_have_nothing_to_do_go_and_never_the_last_while_there_is_work(made: State) -> None:
    most = made["aws_appautoscaling_target.workers"]["max_capacity"]
    for running in range(1, most + 1):
        for held in range(1, running + 1):
            now = workers_wanted(made, "shrink", running, waiting=0, held=held, running=running)
            assert now >= held
            assert now < running or running <= 2 * held


def test_alarms_watch_the_queues_that_are_there_and_tell_somebody(made: State) -> None:
    names = {made[f'aws_sqs_queue.this["{key}"]']["name"] for key in ("jobs", "dead")}
    for address in ("age", "dead", "stuck"):
        alarm = made[f"aws_cloudwatch_metric_alarm.{address}"]
        assert alarm["alarm_actions"] == [made["aws_sns_topic.alarms"]["arn"]]
        metrics = [query["metric"][0] for query in alarm["metric_query"] if query["metric"]] or [alarm]
        assert all(metric["dimensions"]["QueueName"] in names for metric in metrics)
    assert made["aws_cloudwatch_metric_alarm.dead"]["dimensions"]["QueueName"].endswith("-dead.fifo")


def test_digital_oceans_module_makes_what_its_variables_say(tmp_path: Path) -> None:
    """Its own tests pass with the real provider, whose schema checks every argument."""
    folder = tmp_path / "digitalocean"
    shutil.copytree(DIGITAL_OCEAN, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars"))
    init = terraform("init", "-backend=false", "-input=false", f"-plugin-dir={plugins(DIGITAL_OCEAN)}", folder=folder)
    assert init.returncode == 0, init.stdout + init.stderr
    tested = terraform("test", folder=folder)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_digital_oceans_examples_set_variables_that_there_are() -> None:
    known = set(re.findall(r'^variable "(\w+)"', (DIGITAL_OCEAN / "variables.tf").read_text(), re.MULTILINE))
    example = (DIGITAL_OCEAN / "terraform.tfvars.example").read_text()
    assert set(re.findall(r"^#? ?(\w+) +=", example, re.MULTILINE)) <= known
    document = (ROOT / "docs/digitalocean.md").read_text()
    outputs = set(re.findall(r'^output "(\w+)"', (DIGITAL_OCEAN / "outputs.tf").read_text(), re.MULTILINE))
    assert set(re.findall(r"output -raw (\w+)", document)) <= outputs
    assert set(re.findall(r"`(\w+_\w+)`", document)) <= known
