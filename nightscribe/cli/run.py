"""Define the command `nightscribe run`."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import flag, folders, settings
from nightscribe.services.requested_settings import OPTIONS
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.services.events import Event
    from nightscribe.services.request import Request
    from nightscribe.shared.storage.base import Location


@click.command()
@folders()
@settings(*OPTIONS["run"])
@flag("--dry-run", "Only show what would be done, and roughly how long it would take.")
@flag("--redo", "Transcribe finished recordings again.")
@flag("--retry-failed", "Retry recordings that failed in an earlier run.")
def run(source: "Location", dest: "Location", dry_run: bool, redo: bool, retry_failed: bool, **given: Any) -> None:
    """Transcribe everything in SOURCE into DEST on this machine, then end.

    \b
    Examples:
      nightscribe run ~/recordings ~/transcripts
      nightscribe run ~/recordings ~/transcripts --dry-run
      nightscribe run ~/interviews ~/interviews --model small --language en
      nightscribe run calls text --formats txt,json --retry-failed
      nightscribe run s3://interviews/2012 s3://texts

    SOURCE and DEST are each a folder or a bucket. DEST mirrors the folders below SOURCE; it may lie in SOURCE or be
    SOURCE itself. Recordings that already have a transcript are skipped. Exit code: 0 all done, 1 some recordings
    failed, 2 wrong use, 130 interrupted.
    """
    from nightscribe.cli.observing import send_traces
    from nightscribe.services.request import Request

    request = Request(source, dest, load_settings(**given), redo=redo, retry_failed=retry_failed)
    send_traces("director")
    raise SystemExit(_forecast(request) if dry_run else _run(request))


def _run(request: "Request") -> int:
    """Run it, and print the summary. Returns: the exit code."""
    from nightscribe.cli.announce import announce_run
    from nightscribe.cli.signals import interruptible
    from nightscribe.log import configure_logging
    from nightscribe.report.run_report import RunReport
    from nightscribe.services.events import Began, Working
    from nightscribe.services.run import run as service
    from nightscribe.shared.errors import NightscribeError
    from nightscribe.terminal import visible
    from nightscribe.views.progress import Display
    from nightscribe.views.summary import summary

    report = RunReport(request.source, request.dest, request.settings, redo=request.redo)
    with ExitStack() as stack:
        interruption = stack.enter_context(interruptible())
        display = stack.enter_context(Display(request))

        def on_event(event: "Event") -> None:
            if isinstance(event, Working):
                interruption.check()
            if isinstance(event, Began):
                # The terminal shows the progress, so log events go to a file.
                log_file = stack.enter_context((event.logs / "run.log").open("w", errors="backslashreplace"))
                configure_logging(request.settings.log_level, log_file)
            report.observe(event)
            display.show(event)

        try:
            result = service(request, on_event)
        except KeyboardInterrupt:
            print("Interrupted before any work began.")
            return 130
        except NightscribeError as error:
            report.write_stopped(error)
            raise
        for line in summary(
            result.progress,
            elapsed_s=result.elapsed_s,
            dest=request.dest,
            formats=request.settings.formats,
            interrupted=result.interrupted,
            redo=request.redo,
        ):
            print(line)
        if said := report.write_report(result.progress, interrupted=result.interrupted):
            print(visible(said))
        announce_run(request.dest, result)
        if request.dest.local_path is None:
            print(visible(f"Logs of this machine: {result.logs}"))
    if result.interrupted:
        return 130
    return 0 if result.is_complete else 1


def _forecast(request: "Request") -> int:
    from nightscribe.cli.signals import interruptible
    from nightscribe.services.dry_run import dry_run
    from nightscribe.views.dry_run import lines
    from nightscribe.views.progress import Display

    with interruptible(), Display(request) as display:
        forecast = dry_run(request, display.show)
    for line in lines(forecast, request):
        print(line)
    return 0
