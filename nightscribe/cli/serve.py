"""Define the command `nightscribe serve`."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting, settings
from nightscribe.server.config import ServerSettings, load_server_settings
from nightscribe.shared.errors import ExtraMissing, SetupError
from nightscribe.shared.settings import ENV_PREFIX, load_settings

if TYPE_CHECKING:
    import uvicorn

    from nightscribe.log import RotatedFile
    from nightscribe.server.database.database import Database
    from nightscribe.server.jobs.opening import Work
    from nightscribe.shared.settings import Settings
    from nightscribe.shared.storage.base import Location

SERVER_OPTIONS = ("host", "port", "require_login", "allowed_hosts", "trusted_proxies", "session_hours", "database")
JOB_OPTIONS = (
    *("workers", "interactive_workers", "no_workers", "no_gpu", "cpu_model"),
    *("max_waiting", "results_minutes", "no_refresh"),
)
UPLOAD_OPTIONS = ("max_upload_gb", "upload_hours")
LOG_OPTIONS = ("log_file", "log_file_hours", "log_files")
CLIENT_OPTIONS = (
    *("sync_minutes", "largest_model", "requests_per_minute"),
    *("fetch_urls", "fetch_minutes", "allowed_addresses"),
)
STOP_WITHIN_S = 20
BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than clients pause between two looks at a job


@click.command()
@folders("dest")
@click.option(
    "--source",
    metavar="SOURCE",
    envvar="NIGHTSCRIBE_SOURCE",
    help="Where the recordings are.  [NIGHTSCRIBE_SOURCE; default: that of the last run]",
)
@settings(*SERVER_OPTIONS, *JOB_OPTIONS, *UPLOAD_OPTIONS, *CLIENT_OPTIONS, *LOG_OPTIONS, model=ServerSettings)
@settings("model", "models", "engine", "language", "formats", "models_dir", "load_late", "unload_after_s")
@setting("queue_name", default="that of the last run")
@setting("log_level")
def serve(dest: "Location", source: str | None, **given: Any) -> None:
    """Serve DEST to people and programs: a page and an API.

    \b
    Examples:
      nightscribe serve ~/transcripts
      nightscribe serve ~/transcripts --source ~/recordings --port 8000
      nightscribe token create ~/transcripts anna --login --scope write
      nightscribe serve ~/transcripts --host 0.0.0.0

    Without --host, only this machine can reach it, and no token is required. On any other address, it refuses to start
    until there is a token or a login (nightscribe token create). The API is described at /api/docs. Exit code: 0 when
    it is stopped, 2 for wrong use.
    """
    with need_server():
        import uvicorn

        from nightscribe.server.app import create_app
        from nightscribe.server.compat.whisper_api_settings import taken_over
        from nightscribe.server.context import Context
        from nightscribe.server.database.database import open_database
        from nightscribe.server.webhooks.sender import sending
    from nightscribe.log import configure_logging
    from nightscribe.shared.storage.registry import parse_location
    from nightscribe.worker.engines.gpu import has_gpu

    taken = taken_over(os.environ)
    for name, value in taken.values.items():
        if given.get(name) is None and ENV_PREFIX + name.upper() not in os.environ:
            given[name] = value
    for note in taken.notes:
        click.echo(note, err=True)
    server = load_server_settings(**{name: given.pop(name) for name in ServerSettings.model_fields if name in given})
    settings = load_settings(**given)
    if server.cpu_model and (server.no_gpu or not has_gpu()):
        settings = settings.model_copy(update={"model": server.cpu_model})
    configure_logging(settings.log_level, _log_file(server) if server.log_file else sys.stderr)
    dest.check_dest(settings.storage, create=True)
    place = parse_location(source) if source else _last_source(dest, settings.storage)
    database = open_database(dest, server.database)
    _require_credentials(server, database, dest)
    listening = _listen(server)
    changed = threading.Event()
    work = _work(place, dest, settings, server, database, changed=changed.set)
    context = Context(dest, place, settings, server, database, changed, work.jobs if work else None)
    config = uvicorn.Config(
        create_app(context, background=[*([lambda _: work.running()] if work else ()), sending]),
        log_config=None,
        log_level="critical",  # what fails is logged where it is handled
        access_log=False,
        server_header=False,
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        timeout_graceful_shutdown=STOP_WITHIN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    click.echo(f"Serving {dest} at {_url(server, listening)}  (Ctrl-C stops it)")
    with _stopping_cleanly():
        _server(config, work.jobs.signals.close if work else lambda: None).run(sockets=[listening])
    database.close()


@contextmanager
def need_server() -> Iterator[None]:
    """Say what to install if the libraries of the server are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"The server is not installed here ({error.name} is missing).", "server") from None


def _log_file(server: ServerSettings) -> "RotatedFile":
    from nightscribe.log import RotatedFile

    try:
        return RotatedFile(Path(server.log_file), server.log_file_hours, server.log_files)
    except OSError as error:
        raise SetupError(
            f"NIGHTSCRIBE_LOG_FILE is {server.log_file!r}, which cannot be written ({error.strerror})."
        ) from None


def _last_source(dest: "Location", options: Any) -> "Location | None":
    from nightscribe.shared.destination.records import Records
    from nightscribe.shared.storage.registry import parse_location

    last = Records(dest.open_store(options)).last_run()
    return parse_location(last.source) if last else None


def _work(
    source: "Location | None",
    dest: "Location",
    settings: "Settings",
    server: ServerSettings,
    database: "Database",
    *,
    changed: Callable[[], None],
) -> "Work | None":
    """Return what does the jobs of this server; None if it takes none. `changed` is called after each transcript.

    Raises: SetupError: if the workers that it starts here lack something.
    """
    from nightscribe.server.jobs.opening import Work
    from nightscribe.services import preflight
    from nightscribe.services.queue_discovery import is_named

    has_queue = is_named(settings)
    if source is None or (server.no_workers and not has_queue):
        return None
    source.check_source(settings.storage)
    if not server.no_workers:
        preflight.check_options(settings)
        preflight.check_engine(settings)
    return Work.of(source, dest, settings, server, database, starts_queue=not has_queue, changed=changed)


def _server(config: "uvicorn.Config", ending: Callable[[], None]) -> "uvicorn.Server":
    """Return the server; `ending` is called when it is to stop, before it waits for the open responses."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            ending()
            super().handle_exit(sig, frame)

    return Server(config)


def _require_credentials(server: ServerSettings, database: Any, dest: "Location") -> None:
    """Raise SetupError if others could reach the server, or must log in, and nobody has a token or a login."""
    from nightscribe.server.database import credentials

    if server.is_loopback and not (server.require_login or server.allowed_hosts):
        return
    with database.read() as session:
        if credentials.exist(session):
            return
    if not server.is_loopback:
        why = f"others can reach {server.host}"
    else:
        why = "--require-login is set" if server.require_login else "--allowed-hosts is set"
    raise SetupError(
        f"There is no token and no login yet, but {why}. Create one first: nightscribe token create {dest} NAME --login"
    )


def _listen(server: ServerSettings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _cannot_listen(server, error) from None
    # With the protocol, or asyncio would not send the end of a response before the client confirms its beginning.
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)  # whoever reads the address below may connect at once
        listening.set_inheritable(False)
    except OSError as error:
        listening.close()
        raise _cannot_listen(server, error) from None
    return listening


def _cannot_listen(server: ServerSettings, error: OSError) -> SetupError:
    return SetupError(
        f"The server cannot listen on {server.host} port {server.port} ({error.strerror}). Choose another address with "
        "--host, or another port with --port."
    )


def _url(server: ServerSettings, listening: socket.socket) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{listening.getsockname()[1]}/"


@contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """Let the command end with 0 after a signal. uvicorn handles it first, then raises it again for whoever waits."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
