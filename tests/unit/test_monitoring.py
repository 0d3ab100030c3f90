"""What is shown of a night and alarmed: each query names what is really counted, each file is what its reader takes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from nightscribe import metrics_server as exposition
from nightscribe.shared.errors import SetupError
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.telemetry import metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "infra" / "monitoring"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "nightscribe.json"
PROMETHEUS_OWN = {"up", "ALERTS"}
KEYWORDS = {"and", "or", "unless", "by", "on", "group_left", "max", "sum", "bool"}
GRAFANA_TIMES = {"$__range": "12h", "$__rate_interval": "5m"}


def load(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    """Of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_queries() -> list[str]:
    """All that the dashboard asks, with times in the place of Grafana's variables."""
    asked = [
        query["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for query in panel.get("targets", [])
    ]
    for variable, time in GRAFANA_TIMES.items():
        asked = [query.replace(variable, time) for query in asked]
    return asked


def alert_queries() -> list[str]:
    """All that the alerts ask."""
    return [rule["expr"] for group in load(MONITORING / "alerts.yml")["groups"] for rule in group["rules"]]


def counted() -> Iterator[str]:
    """The names under which a worker and a director show what they count."""

    def nowhere() -> JobQueue:
        raise SetupError("There is no queue.")

    for collectors in (metrics.WORKER, metrics.DIRECTOR):
        shown = exposition.registry(collectors, nowhere)
        for family in shown.collect():
            yield family.name
            yield from (sample.name for sample in family.samples)
    yield from (family.name for family in exposition.QueueDepth(nowhere).describe())


def names_in(query: str) -> set[str]:
    """The metrics that a query names."""
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|group_left)\s*\([^)]*\)", " ", query)
    return {name for name in re.findall(r"[A-Za-z_]\w*(?!\w*\s*\()", plain) if name not in KEYWORDS}


def test_the_names_in_a_query_are_found() -> None:
    """Those that do not exist, too."""
    query = (
        'sum by (le) (rate(one_total{a="b"}[5m])) / (max(two_x) > 0) unless on () three * on (i) group_left (p) four'
    )
    assert names_in(query) == {"one_total", "two_x", "three", "four"}


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()])
def test_each_query_names_metrics_that_exist(query: str) -> None:
    asked = names_in(query)
    assert asked
    assert asked - set(counted()) - PROMETHEUS_OWN == set()


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()])
def test_each_query_asks_for_results_that_exist(query: str) -> None:
    known = {
        "result": {*get_args(metrics.SliceResult), "extended"},
        "outcome": set(get_args(metrics.Outcome)),
        "state": {"queued", "in_flight"},
        "job": {each["job_name"] for each in load(MONITORING / "prometheus.yml")["scrape_configs"]},
        "alertstate": {"firing"},
    }
    for label, values in re.findall(r'(\w+)=~?"([^"]*)"', query):
        assert set(values.split("|")) <= known[label], label


def test_the_dashboard_answers_its_four_questions(panels: list[dict[str, Any]]) -> None:
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["How far", "How fast", "What fails", "Which worker is slow"]


def test_the_dashboard_is_whole(panels: list[dict[str, Any]]) -> None:
    """Every panel asks the data source that is set up, says what it shows, and lies on no other."""
    [source] = load(MONITORING / "grafana/provisioning/datasources/sources.yml")["datasources"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert {query["datasource"]["uid"] for query in panel["targets"]} == {source["uid"]}
            assert len({query["refId"] for query in panel["targets"]}) == len(panel["targets"])


@pytest.fixture
def promtool() -> str:
    """Prometheus' own checker."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian and Ubuntu: apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_prometheus_takes_its_files_and_alarms_when_it_should(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_the_queries_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(dashboard_queries())]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "queries.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_been_seen_to_fire() -> None:
    fired = {
        case["alertname"]
        for test in load(MONITORING / "alerts_test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for group in load(MONITORING / "alerts.yml")["groups"] for rule in group["rules"]}


def test_compose_and_prometheus_agree_where_the_metrics_are() -> None:
    services = load(ROOT / "docker-compose.yml")["services"]
    for job in load(MONITORING / "prometheus.yml")["scrape_configs"]:
        [found] = job["dns_sd_configs"]
        for name in found["names"]:
            assert services[name]["environment"]["NIGHTSCRIBE_METRICS_PORT"] == found["port"], name


@pytest.mark.parametrize("name", ["prometheus", "grafana", "jaeger"])
def test_what_watches_is_pinned_seen_from_this_machine_only_and_changes_no_file_of_ours(name: str) -> None:
    service = load(ROOT / "docker-compose.yml")["services"][name]
    assert service["profiles"] == ["monitoring"]
    assert re.search(r":v?\d+\.\d+\.\d+\}$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for mount in service.get("volumes", []):
        if mount.startswith("."):
            folder, _, mode = mount.split(":")
            assert (ROOT / folder).is_dir()
            assert mode == "ro"
