"""Measure the server: how long its lists, searches and pages of the API take with many recordings.

The recordings are generated, and put into the index directly. Requests pass the whole application, but no network.
Where other programs are at work, the CPU time says more than the time it took.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from fastapi.testclient import TestClient
from search import Speech, fill

from nightscribe.search.place import index_path
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.server.app import create_app
from nightscribe.server.config import ServerSettings
from nightscribe.server.context import Context
from nightscribe.server.database.database import open_database
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation

API = "/api/v1"


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--passages", type=int, default=50, help="passages of each (50)")
    parser.add_argument("--repeats", type=int, default=20, help="how often each request is made (20)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscribe-server-") as folder:
        dest = FolderLocation(Path(folder))
        database = open_database(dest)  # first: the index lies beside it
        speech = Speech(given.passages)
        with SqliteIndex(index_path(dest)) as index:
            fill(index, speech, given.recordings)
        app = create_app(Context(dest, None, Settings(), ServerSettings(), database))
        # Without its context, nothing runs beside the requests: the generated recordings have no records to compare.
        client = TestClient(app, base_url="http://127.0.0.1")
        far = cursor_at(client, given.recordings // 2)
        for path in (
            "/session",
            "/recordings",
            "/recordings?sort=name",
            f"/recordings?limit=50&cursor={far}",
            "/recordings?language=zh",
            "/recordings?folder=0003",
            "/recordings?state=review",
            "/recordings?speaker=Nobody",
            "/recordings?text=0000042",
            "/recordings/facets",
            f"/search?q={speech.words[2_000]}",
            f"/search?q={speech.words[0]}",
            f"/search?q={speech.words[2_000]}&folder=0003",
        ):
            measure(client, path, given.repeats)
        database.close()


def cursor_at(client: TestClient, n: int) -> str:
    """Return the cursor of a page that far from the beginning."""
    cursor = ""
    for _ in range(max(1, min(n, 20_000) // 500)):
        page = client.get(f"{API}/recordings?limit=500{cursor and '&cursor=' + cursor}").json()
        cursor = page["next"] or cursor
    return cursor


def measure(client: TestClient, path: str, repeats: int) -> None:
    """Time a request."""
    took, cpu = [], []
    for _ in range(repeats):
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        response = client.get(API + path)
        took.append(time.perf_counter() - began_s)
        cpu.append(time.process_time() - began_cpu_s)
        assert response.status_code == 200, response.text
    took.sort()
    shown = path if len(path) < 48 else f"{path[:45]}…"
    print(
        f"{shown:50} median {1000 * statistics.median(took):6.1f} ms, slowest {1000 * took[-1]:6.1f} ms, "
        f"CPU {1000 * statistics.median(cpu):6.1f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
