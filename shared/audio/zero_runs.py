"""Find holes in a stream that has no clock: stretches of zero bytes, as a failed copy or a bad disk leaves them."""

from typing import BinaryIO

from nightscribe.shared.audio.containers import ID3_HEADER_BYTES, id3_bytes
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.process.liveness import report_alive

BLOCK_BYTES = 4096  # coded sound holds no such block of zeros: even silence has the headers of its frames
READ_BYTES = 256 * BLOCK_BYTES

_ZEROS = bytes(BLOCK_BYTES)


def zero_bytes(path: Readable) -> int:
    """Return the number of bytes in blocks of zeros between other content; those in tags and at both ends are padding.

    Raises: RetryableError: if the file cannot be read now.
    """
    try:
        with path.open("rb") as file:
            return _zero_bytes(file)
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None


def _zero_bytes(file: BinaryIO) -> int:
    start = 0
    while n_bytes := id3_bytes(file.read(ID3_HEADER_BYTES)):
        start += n_bytes
        file.seek(start)
    file.seek(start)
    inside = waiting = 0
    has_begun = False
    while read := file.read(READ_BYTES):
        report_alive()
        for at in range(0, len(read), BLOCK_BYTES):
            block = read[at : at + BLOCK_BYTES]
            if block == _ZEROS[: len(block)]:
                waiting += len(block)
                continue
            inside += waiting if has_begun else 0
            waiting, has_begun = 0, True
    return inside
