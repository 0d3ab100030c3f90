"""Serve metrics and send traces until a command ends, if the settings request them."""

import os
from collections.abc import Iterable

import click
from prometheus_client.registry import Collector

from nightscribe import metrics_server
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.settings import Settings
from nightscribe.shared.telemetry import tracing


def observe(role: str, settings: Settings, engine: str, collectors: Iterable[Collector]) -> None:
    """Serve the metrics of this process and send its traces."""
    metrics_server.serve(settings, collectors, process=process_name(os.getpid()), engine=engine)
    send_traces(role)


def send_traces(role: str) -> None:
    """Send the traces of this process."""
    click.get_current_context().with_resource(tracing.exported(f"nightscribe-{role}", process_name(os.getpid())))
