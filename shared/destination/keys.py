"""Name the files in a destination."""

import hashlib

from nightscribe.shared.formats.registry import suffix_of
from nightscribe.shared.model.jobs import RECORDS_FOLDER

TRANSCRIPTS = f"{RECORDS_FOLDER}/transcripts/"
HASHES = f"{RECORDS_FOLDER}/hashes/"
FAILURES = f"{RECORDS_FOLDER}/failures/"
PARTS = f"{RECORDS_FOLDER}/parts/"
JOBS = f"{RECORDS_FOLDER}/jobs/"
VOICES = f"{RECORDS_FOLDER}/voices/"
FORGOTTEN = f"{RECORDS_FOLDER}/forgotten/"
DAMAGED = f"{RECORDS_FOLDER}/damaged/"
RUN = f"{RECORDS_FOLDER}/run.json"
REPORT = f"{RECORDS_FOLDER}/report.json"
REPORT_PAGE = f"{RECORDS_FOLDER}/report.html"

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


def transcript_key(recording: str) -> str:
    """Return the key of a recording's canonical transcript."""
    return TRANSCRIPTS + with_suffix(recording, ".json")


def hash_key(recording: str) -> str:
    """Return the key of the hash of a finished recording's content."""
    return HASHES + with_suffix(recording, ".json")


def failure_key(recording: str) -> str:
    """Return the key of a recording's failure record."""
    return FAILURES + with_suffix(recording, ".json")


def parts_folder(recording: str) -> str:
    """Return the folder that holds the results of a recording's slices until it is finished."""
    return PARTS + with_suffix(recording, "") + "/"


def output_key(stem: str, fmt: str) -> str:
    """Return the key of a transcript's text file in one format."""
    return with_suffix(stem, suffix_of(fmt))
