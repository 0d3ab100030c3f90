"""Name the files in a destination."""

import hashlib

from nightscribe.shared.formats.registry import suffix_of
from nightscribe.shared.model.jobs import RECORDS_FOLDER, REQUESTS_FOLDER

TRANSCRIPTS = f"{RECORDS_FOLDER}/transcripts/"
HASHES = f"{RECORDS_FOLDER}/hashes/"
FAILURES = f"{RECORDS_FOLDER}/failures/"
PARTS = f"{RECORDS_FOLDER}/parts/"
JOBS = f"{RECORDS_FOLDER}/jobs/"
VOICES = f"{RECORDS_FOLDER}/voices/"
FORGOTTEN = f"{RECORDS_FOLDER}/forgotten/"
PEAKS = f"{RECORDS_FOLDER}/peaks/"
DAMAGED = f"{RECORDS_FOLDER}/damaged/"
REQUESTS = f"{RECORDS_FOLDER}/requests/"
"""Records of recordings in the source's hidden folder, kept apart from the library, so that nothing ever lists them."""
FAILURES_OF_REQUESTS = f"{REQUESTS}failures/"
CANCELLED = f"{RECORDS_FOLDER}/cancelled/"
SUBMITTED = f"{RECORDS_FOLDER}/submitted/"
RUN = f"{RECORDS_FOLDER}/run.json"
TABLE = f"{RECORDS_FOLDER}/table.json"
REPORT = f"{RECORDS_FOLDER}/report.json"
REPORT_PAGE = "report.html"
HIDDEN_REPORT_PAGE = f"{RECORDS_FOLDER}/report.html"  # where somebody else's file has that name

MAX_NAME_BYTES = 255  # the limit of Linux and macOS file systems


def with_suffix(path: str, suffix: str) -> str:
    """Return `path` + `suffix`, with a last name that is too long shortened and kept unique by a hash."""
    if len(path) + len(suffix) <= MAX_NAME_BYTES // 4:  # most names are so short that they fit with any letters
        return path + suffix
    folder, slash, name = path.rpartition("/")
    if len((name + suffix).encode()) > MAX_NAME_BYTES:
        digest = "~" + hashlib.sha256(name.encode()).hexdigest()[:8]
        room = MAX_NAME_BYTES - len((digest + suffix).encode())
        name = name.encode()[:room].decode(errors="ignore") + digest
    return f"{folder}{slash}{name}{suffix}"


def _place(tree: str, recording: str, suffix: str) -> str:
    """Return the key below a tree of records; those of requests have trees of their own."""
    if recording.startswith(f"{REQUESTS_FOLDER}/"):
        tree, recording = REQUESTS + tree.removeprefix(f"{RECORDS_FOLDER}/"), recording[len(REQUESTS_FOLDER) + 1 :]
    return tree + with_suffix(recording, suffix)


def transcript_key(recording: str) -> str:
    """Return the key of a recording's canonical transcript."""
    return _place(TRANSCRIPTS, recording, ".json")


def hash_key(recording: str) -> str:
    """Return the key of the hash of a finished recording's content."""
    return _place(HASHES, recording, ".json")


def failure_key(recording: str) -> str:
    """Return the key of a recording's failure record."""
    return _place(FAILURES, recording, ".json")


def peaks_key(recording: str) -> str:
    """Return the key of the waveform of a recording, which the server makes and nobody needs."""
    return PEAKS + with_suffix(recording, ".peaks")


def parts_folder(recording: str) -> str:
    """Return the folder that holds the results of a recording's slices until it is finished."""
    return _place(PARTS, recording, "") + "/"


def output_key(stem: str, fmt: str) -> str:
    """Return the key of a transcript's text file in one format."""
    return with_suffix(stem, suffix_of(fmt))


def cancelled_key(job: str) -> str:
    """Return the key of the note that the work on a job of the server is to stop."""
    return f"{CANCELLED}{job}.json"


def submitted_key(recording: str) -> str:
    """Return the key of the note that a server has queued a recording, which a director therefore leaves alone."""
    return f"{SUBMITTED}{hashlib.sha256(recording.encode(errors='surrogateescape')).hexdigest()[:32]}.json"
