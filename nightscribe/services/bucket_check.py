"""What can be known of a bucket before any work is wasted."""

import os
import socket

from nightscribe.shared.errors import BucketError, SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.s3.client import Bucket, Denied, Objects, objects_of

RETRY_TIMEOUT_S = 8.0  # somebody is waiting for the answer
TRIED = 3  # objects: one alone may be another account's


def check_readable(bucket: Bucket, settings: Settings) -> None:
    """Raises: BucketError: unless recordings can be listed and read there. RetryableError: if no server answers."""
    objects = objects_of(bucket, payer=settings.s3_requester_pays, retry_timeout_s=RETRY_TIMEOUT_S)
    found, _ = next(objects.pages("", deep=True))
    denied: Denied | None = None
    for each in [each for each in found if each.size][:TRIED]:
        try:
            objects.read(each.key, 0, 1)
        except Denied as error:
            denied = error
        else:
            return
    if denied:
        raise BucketError(str(denied)) from denied


def check_writable(bucket: Bucket, settings: Settings) -> None:
    """Raises: BucketError: unless transcripts can be written, read and removed. RetryableError: as above."""
    objects = objects_of(bucket, retry_timeout_s=RETRY_TIMEOUT_S)
    _look(objects)
    key = f"{RECORDS_FOLDER}/trial-{socket.gethostname()}-{os.getpid()}"
    try:
        objects.put(key, b"", **settings.s3_encryption)
        objects.read(key)
        objects.delete(key)
    except Denied as error:
        raise BucketError(str(error)) from error


def check_listed(bucket: Bucket) -> None:
    """Raises: BucketError: unless it is there and can be looked at. RetryableError: as above."""
    _look(objects_of(bucket, retry_timeout_s=RETRY_TIMEOUT_S))


def check_records(bucket: Bucket) -> None:
    """Raises: SetupError: unless it is a destination that a run or a director has worked into."""
    found, _ = next(objects_of(bucket, retry_timeout_s=RETRY_TIMEOUT_S).pages(f"{RECORDS_FOLDER}/", deep=True))
    if not found:
        raise SetupError(
            f"DEST {str(bucket)!r} holds no records of nightscribe (nothing below {RECORDS_FOLDER}/ in it); give the "
            "place that `run` or `director` was given as DEST."
        )


def _look(objects: Objects) -> None:
    next(objects.pages("", deep=False))
