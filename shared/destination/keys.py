"""How files in the destination are called."""

import hashlib

from nightscribe.shared.formats.registry import suffix_of
from nightscribe.shared.model.jobs import RECORDS_FOLDER

TRANSCRIPTS = f"{RECORDS_FOLDER}/transcripts/"
FAILURES = f"{RECORDS_FOLDER}/failures/"
PARTS = f"{RECORDS_FOLDER}/parts/"
JOBS = f"{RECORDS_FOLDER}/jobs/"
RUN = f"{RECORDS_FOLDER}/run.json"
REPORT = f"{RECORDS_FOLDER}/report.json"
REPORT_PAGE = f"{RECORDS_FOLDER}/report.html"

MAX_NAME_BYTES = 255  # what Linux and macOS file systems take


def with_suffix(path: str, suffix: str) -> str:
    """`path` + `suffix`, its last name shortened (and kept unique by a hash) where a file system would refuse it."""
    if len(path) + len(suffix) <= MAX_NAME_BYTES // 4:  # however many bytes its letters need; most names are short
        return path + suffix
    folder, slash, name = path.rpartition("/")
    if len((name + suffix).encode()) > MAX_NAME_BYTES:
        digest = "~" + hashlib.sha256(name.encode()).hexdigest()[:8]
        room = MAX_NAME_BYTES - len((digest + suffix).encode())
        name = name.encode()[:room].decode(errors="ignore") + digest
    return f"{folder}{slash}{name}{suffix}"


def transcript_key(recording: str) -> str:
    """Where the canonical transcript of a recording is kept."""
    return TRANSCRIPTS + with_suffix(recording, ".json")


def failure_key(recording: str) -> str:
    """Where it is kept why a recording failed."""
    return FAILURES + with_suffix(recording, ".json")


def parts_folder(recording: str) -> str:
    """Where the results of its slices wait until a recording is done."""
    return PARTS + with_suffix(recording, "") + "/"


def output_key(stem: str, fmt: str) -> str:
    """Where the text of one format goes."""
    return with_suffix(stem, suffix_of(fmt))
