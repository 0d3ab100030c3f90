"""Distinguish problems of this machine from problems with a recording. Pure."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.errors import MachineError

# Out of memory, processes, disk space or file descriptors, or a read-only disk.
_ERRNOS = {
    errno.EAGAIN,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EROFS,
}
REST_S = 5.0  # the first rest; each further one is twice as long
MAX_REST_S = 300.0
# A job fails after machines with problems have released it this often and for this long.
MAX_RELEASES = 10
MAX_TROUBLE_S = 3600.0


def machine_error(error: Exception) -> MachineError | None:
    """Return the error as a problem of this machine, or None if it concerns the recording or anything else.

    Storage and decoder translate errors that concern a recording. Any other OSError comes from starting ffmpeg or from
    the scratch disk.
    """
    if isinstance(error, MachineError):
        return error
    if not isinstance(error, OSError):
        return None
    why = error.strerror or str(error)
    if error.filename is not None and str(error.filename) == ffmpeg_path():
        return MachineError(f"ffmpeg cannot be started: {error.filename}: {why}.", code="ffmpeg_missing")
    if error.errno in _ERRNOS:
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        return MachineError(f"This machine cannot work at the moment: {why}.", code=code)
    return None


@contextmanager
def machine_errors() -> Iterator[None]:
    """Raise MachineError instead of an error that `machine_error` classifies as a problem of this machine.

    Use it inside `RecordingSource.local`, which would translate every OSError into one about its recording.
    """
    try:
        yield
    except OSError as error:
        if found := machine_error(error):
            raise found from error
        raise


def rest_s(n_in_a_row: int) -> float:
    """Return the seconds that a worker pauses after this many consecutive attempts failed because of its machine."""
    return min(MAX_REST_S, REST_S * 2.0 ** min(n_in_a_row - 1, 16))


def is_hopeless(n_releases: int, trouble_s: float) -> bool:
    """Return whether machines with problems have released a job so often and for so long that it must fail."""
    return n_releases >= MAX_RELEASES and trouble_s >= MAX_TROUBLE_S
