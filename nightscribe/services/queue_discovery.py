"""Find the queue of a destination, and connect to it from this machine."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from nightscribe.services.run_record import is_live
from nightscribe.shared.errors import QueueError, RetryableError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.settings import Settings

WITHIN_S = 3.0  # a person is waiting
NAMING = ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL", "LOCALSTACK_ENDPOINT", "LOCALSTACK_HOST")


class NoQueue(QueueError):
    """Raised if there is no queue to query; the error message says why."""


@contextmanager
def reached(last: Run | None, settings: Settings) -> Iterator[JobQueue]:
    """Connect to the destination's queue: the current run's, else the last director's, else the configured one.

    Raises: NoQueue: if there is no queue, or it does not respond within seconds.
    """
    if last and last.command == "run" and is_live(last):
        if not last.endpoint:
            raise NoQueue("none yet: the run starts its own after its scan.")
        if last.host not in ("", socket.gethostname()):
            raise NoQueue(f"it can be reached only on {last.host}, where the run is.")
        yield _found(last.queue_name, settings, local=last.endpoint)
    elif last and last.command == "run" and not _is_asked_for(settings):
        # The environment may name a server for another purpose, such as a bucket; its queues belong to other programs.
        raise NoQueue("none now: the last run had its own, which ended with it.")
    elif last or is_named(settings):
        yield _found(queue_name(last, settings), settings)
    else:
        raise NoQueue("none is configured: set the AWS_* variables of its server, or give --queue-name.")


def is_named(settings: Settings) -> bool:
    """Return whether the environment or the command line names a queue. It matters only if no run is recorded."""
    return any(name in os.environ for name in NAMING) or _is_asked_for(settings)


def _is_asked_for(settings: Settings) -> bool:
    return "queue_name" in settings.model_fields_set


def queue_name(last: Run | None, settings: Settings) -> str:
    """Return the queue name that the user gave, else the last director's."""
    of_director = last is not None and last.command == "director" and not _is_asked_for(settings)
    return last.queue_name if last and of_director else settings.queue_name


def _found(name: str, settings: Settings, local: str | None = None) -> JobQueue:
    try:
        queue = connect(
            name,
            visibility_timeout_s=settings.visibility_timeout_s,
            max_receives=settings.max_receives,
            retry_timeout_s=WITHIN_S,
            secrets=settings.queue_secrets,
            local=local,
        )
        queue.find()
    except (QueueError, RetryableError) as error:
        raise NoQueue(str(error)) from error
    except ValueError as error:
        raise NoQueue(f"its address is invalid: {error}.") from error
    return queue
