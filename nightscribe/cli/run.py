"""Define the command `nightscribe run`."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nightscribe.cli.options import flag, settings
from nightscribe.services.requested_settings import OPTIONS
from nightscribe.shared.settings import ENV_PREFIX, load_settings
from nightscribe.terminal import fitted, visible

if TYPE_CHECKING:
    from nightscribe.services.events import Event
    from nightscribe.services.request import Request


@click.command()
@click.argument("words", nargs=-1, metavar="SOURCE... [DEST]", type=click.Path())
@settings(*OPTIONS["run"])
@click.option("--newest", type=click.IntRange(1), metavar="N", help="Of a feed or list, download only the N newest.")
@click.option(
    "--notify",
    multiple=True,
    envvar=f"{ENV_PREFIX}NOTIFY",
    metavar="URL",
    help="Send a notice when it is over: json://… (a webhook), mailto://…, dbus:// and all others of apprise.  "
    f"[{ENV_PREFIX}NOTIFY]",
)
@flag("--dry-run", "Only show what would be done, and roughly how long it would take.")
@flag("--redo", "Transcribe finished recordings again.")
@flag("--retry-failed", "Retry recordings that failed in an earlier run.")
def run(
    words: tuple[str, ...],
    *,
    newest: int | None,
    notify: tuple[str, ...],
    dry_run: bool,
    redo: bool,
    retry_failed: bool,
    **given: Any,
) -> None:
    """Transcribe everything in SOURCE into DEST on this machine, then end.

    \b
    Examples:
      nightscribe run ~/recordings ~/transcripts
      nightscribe run ~/recordings ~/transcripts --dry-run
      nightscribe run ~/interviews ~/interviews --model small --language en
      nightscribe run calls text --formats txt,json --retry-failed
      nightscribe run s3://interviews/2012 s3://texts
      nightscribe run talk.mp3
      nightscribe run 2012/*.mp3 ~/transcripts
      find . -name '*.m4a' -print0 | nightscribe run - ~/transcripts
      nightscribe run https://example.org/podcast.xml ~/podcasts --newest 5
      nightscribe run clips.csv texts --hotwords Nguyễn,PostgreSQL

    SOURCE and DEST are each a folder or a bucket; SOURCE can also be files, folders, names from a pipe (-),
    addresses (http, https) of recordings, pages or feeds, which are downloaded into DEST, each once, or one table
    (.csv, .tsv, .jsonl, .parquet) that names a recording in each row. Without DEST, texts are put beside the
    recordings. DEST mirrors the folders below SOURCE; it may lie in SOURCE or be SOURCE itself. Recordings that
    already have a transcript are skipped. Exit code: 0 all done, 1 some recordings failed, 2 wrong use, 130
    interrupted.
    """
    from nightscribe.cli import notices
    from nightscribe.cli.observing import send_traces
    from nightscribe.services.request import Request
    from nightscribe.services.sources import resolve

    if not words and not (words := tuple(filter(None, [os.environ.get(f"{ENV_PREFIX}SOURCE")]))):
        raise click.UsageError("Missing argument 'SOURCE': the folder that holds your recordings, or recordings.")
    sources = resolve(words, os.environ.get(f"{ENV_PREFIX}DEST", ""), names=sys.stdin.read)
    if newest and not sources.addresses:
        raise click.UsageError("--newest needs the address of a feed or list.")
    request = Request(sources.source, sources.dest, load_settings(**given), redo=redo, retry_failed=retry_failed)
    send_traces("director")
    notices.check_addresses(notify)
    failures = _download(request, sources.addresses, newest, dry_run=dry_run) if sources.addresses else []
    missed = [f"Not downloaded: {failure}" for failure in failures]
    code = _forecast(request) if dry_run else _run(request, notify, missed)
    raise SystemExit(code or (1 if failures else 0))


def _download(request: "Request", addresses: "Sequence[str]", newest: int | None, *, dry_run: bool) -> list[str]:
    """Download what is new, and return a sentence for each address that failed."""
    from nightscribe.cli.signals import interruptible
    from nightscribe.services.download import check_installed, download
    from nightscribe.views.humanize import count
    from nightscribe.views.progress import Display

    check_installed()
    folder = request.dest.local_path
    if dry_run or folder is None:
        print("Nothing is downloaded by a dry run.")
        return []
    request.dest.check_dest(request.settings.storage, create=True)
    with interruptible(), Display() as display:
        downloaded = download(addresses, folder, newest=newest, on_event=display.show)
    print(f"Downloaded: {count(downloaded.n_new, 'new recording')} into {folder}.")
    return downloaded.failures


def _run(request: "Request", notify: tuple[str, ...], missed: list[str]) -> int:
    """Run it, and print the summary. Returns: the exit code."""
    from nightscribe.cli import notices
    from nightscribe.cli.announce import announce_run
    from nightscribe.cli.signals import interruptible
    from nightscribe.log import configure_logging
    from nightscribe.report.run_report import RunReport
    from nightscribe.services.events import Began, Stopping, TableWritten, Working
    from nightscribe.services.run import run as service
    from nightscribe.shared.errors import NightscribeError
    from nightscribe.views.progress import Display
    from nightscribe.views.summary import summary
    from nightscribe.views.table import table_lines

    report = RunReport(request.source, request.dest, request.settings, redo=request.redo)
    with ExitStack() as stack:
        interruption = stack.enter_context(interruptible())
        display = stack.enter_context(Display(request))

        tables: list[TableWritten] = []

        def on_event(event: "Event") -> None:
            if isinstance(event, Working):
                interruption.check()
            if isinstance(event, Began):
                # The terminal shows the progress, so log events go to a file.
                log_file = stack.enter_context((event.logs / "run.log").open("w", errors="backslashreplace"))
                configure_logging(request.settings.log_level, log_file)
            if isinstance(event, TableWritten):
                tables.append(event)
            report.observe(event)
            display.show(event)
            if isinstance(event, Stopping) and interruption.number is not None:
                print(
                    "Stopping: finishing what is in hand, 10 s at most; Ctrl-C again to stop now.",
                    file=sys.stderr,
                    flush=True,
                )
                interruption.force_on_next(_stop_now)

        try:
            result = service(request, on_event)
        except KeyboardInterrupt:
            print("Interrupted before any work began.")
            return 130
        except NightscribeError as error:
            report.write_stopped(error)
            raise
        lines = list(
            summary(
                result.progress,
                elapsed_s=result.elapsed_s,
                dest=request.dest,
                formats=request.settings.formats,
                interrupted=result.interrupted,
                redo=request.redo,
            )
        )
        lines += [line for table in tables for line in table_lines(table, request.dest)]
        lines += map(visible, missed)
        for line in (*lines, *notices.notify(notify, f"nightscribe: {request.dest}", "\n".join(lines))):
            print(fitted(line))
        if said := report.write_report(result.progress, interrupted=result.interrupted):
            print(fitted(visible(said)))
        announce_run(request.dest, result)
        if request.dest.local_path is None:
            print(visible(f"Logs of this machine: {result.logs}"))
    if result.interrupted:
        return 130
    return 0 if result.is_complete else 1


def _stop_now() -> NoReturn:
    """End this process at once; its workers and its queue server end with it."""
    print("Stopped. What was finished is kept; run the same command again to continue.", file=sys.stderr, flush=True)
    os._exit(130)


def _forecast(request: "Request") -> int:
    from nightscribe.cli.signals import interruptible
    from nightscribe.services.dry_run import dry_run
    from nightscribe.views.dry_run import lines
    from nightscribe.views.progress import Display

    with interruptible(), Display(request) as display:
        forecast = dry_run(request, display.show)
    for line in lines(forecast, request):
        print(fitted(line))
    return 0
