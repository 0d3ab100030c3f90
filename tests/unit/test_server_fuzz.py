"""Whatever a request says, the server fails at none.

For longer: `st run http://127.0.0.1:8484/api/openapi.json --max-examples 100`, while a server is running.
"""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from making import failure, segment, transcript
from schemathesis import Case
from starlette.testclient import TestClient
from support.api_client import client_of, serving

from nightscribe.server.ids import recording_id
from nightscribe.shared.destination.records import Records
from nightscribe.shared.storage.folder.store import FolderStore


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    dest, source = tmp_path_factory.mktemp("dest"), tmp_path_factory.mktemp("source")
    records = Records(FolderStore(dest))
    records.finish(transcript(segment(), recording="a.mp3", stem="a"), ("txt",))
    records.fail(failure("b.mp3"))
    with serving(dest, source) as context, client_of(context) as client:
        yield client


def test_no_request_fails_the_server(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())
    seen = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        # A stream of events may have no end, and schemathesis does not know the type of a piece of an upload.
        if operation.path.endswith("/events") or operation.method == "patch":
            continue

        @settings(max_examples=1, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def respond(case: Case) -> None:
            nonlocal seen
            if "id" in (case.path_parameters or {}) and seen % 2 and case.method != "DELETE":
                case.path_parameters["id"] = recording_id("a.mp3")
            arguments = case.as_transport_kwargs(base_url=str(client.base_url))
            del arguments["cookies"]  # there are none, and a client takes them otherwise
            if isinstance(arguments.get("data"), bytes):
                arguments["content"] = arguments.pop("data")
            response = client.request(**arguments)
            seen += 1
            assert response.status_code in (501, 503) or response.status_code < 500, (
                case.operation.label,
                response.text,
            )

        respond()
    assert seen > 40
