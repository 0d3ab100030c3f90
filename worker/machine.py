"""Tell trouble of this machine from trouble with a recording. Pure."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.errors import MachineError

# No memory or no process for a child, no room on a disk, a disk that takes no writes, no file descriptors.
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
# A job that met only machines in trouble fails when it was released so often and for so long.
MAX_RELEASES = 10
MAX_TROUBLE_S = 3600.0


def machine_error(error: Exception) -> MachineError | None:
    """Return the error as trouble of this machine, or None if it is about the recording or anything else.

    Storage and decoder raise errors of ours for whatever concerns a recording. An OSError that reaches the worker raw
    comes from starting ffmpeg or from the scratch disk.
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
    """Raise MachineError in place of an error that `machine_error` takes for trouble of this machine.

    To be used within `RecordingSource.local`, which would take every OSError for one about its recording.
    """
    try:
        yield
    except OSError as error:
        if found := machine_error(error):
            raise found from error
        raise


def rest_s(n_in_a_row: int) -> float:
    """Return how long a worker rests after so many attempts in a row that met trouble of its machine."""
    return min(MAX_REST_S, REST_S * 2.0 ** min(n_in_a_row - 1, 16))


def is_hopeless(n_releases: int, trouble_s: float) -> bool:
    """Return whether a job met only machines in trouble for so often and so long that it has to fail."""
    return n_releases >= MAX_RELEASES and trouble_s >= MAX_TROUBLE_S
