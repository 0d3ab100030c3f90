"""Download recordings from addresses with yt-dlp: files, pages with a player, lists, and feeds of podcasts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nightscribe.services.events import Downloading, OnEvent, ignore
from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.errors import ExtraMissing
from nightscribe.shared.model.jobs import RECORDS_FOLDER

ARCHIVE = "downloaded.txt"
"""Lists below DEST what was downloaded, so that nothing is downloaded again, even if it was moved or deleted."""
PARTS = "downloads"
SOCKET_TIMEOUT_S = 30
_SENTENCES = (
    (r"HTTP Error 40[13]|log ?in|sign in|cookies|members.only|private", "needs a login; download it in a browser."),
    (r"HTTP Error 4(04|10)", "does not exist."),
    (r"No space left", "does not fit on the disk; make room and repeat the command."),
    (r"Unsupported URL|no media|no video|not a valid URL|Invalid data", "holds no recording that could be found."),
    (
        r"timed out|refused|resolve|unreachable|HTTP Error 5|Connection|reset|Unable to download|more expected",
        "cannot be reached now; the next run tries it again.",
    ),
)


@dataclass
class Downloaded:
    """What came of downloading."""

    n_new: int = 0
    failures: list[str] = field(default_factory=list)
    """One sentence for each address, or recording of a list, that could not be downloaded."""


def check_installed() -> None:
    """Raise ExtraMissing if recordings cannot be downloaded."""
    if find_spec("yt_dlp") is None:
        raise ExtraMissing("Downloading recordings needs a package that is not installed.", "download")


def download(
    addresses: Sequence[str], folder: Path, *, newest: int | None = None, on_event: OnEvent = ignore
) -> Downloaded:
    """Download what is new at these addresses into a folder, each recording whole or not at all.

    What was interrupted continues where it stopped. Args: newest: take at most so many recordings of each feed or list.
    Raises: ExtraMissing: if yt-dlp is not installed. SetupError: if ffmpeg is missing.
    """
    check_installed()
    from yt_dlp import YoutubeDL

    done = Downloaded()
    for address in addresses:
        log = _Log()
        with YoutubeDL(_options(folder, newest, log, on_event)) as downloader:
            before = len(_archived(folder))
            try:
                downloader.download([address])
            except Exception as error:  # noqa: BLE001  whatever a page does to a parser, the other addresses are tried
                log.error(str(error))
        done.n_new += len(_archived(folder)) - before
        done.failures += log.failures(address)
    return done


def _options(folder: Path, newest: int | None, log: "_Log", on_event: OnEvent) -> dict[str, Any]:
    records = folder / RECORDS_FOLDER
    records.mkdir(parents=True, exist_ok=True)

    def progress(status: dict[str, Any]) -> None:
        total = status.get("total_bytes") or status.get("total_bytes_estimate")
        on_event(Downloading(Path(status.get("filename", "")).name, status.get("downloaded_bytes") or 0, total))

    return {
        "format": "bestaudio/best",
        "outtmpl": "%(title).120B [%(id).40B].%(ext)s",
        "paths": {"home": str(folder), "temp": str(records / PARTS)},
        "download_archive": str(records / ARCHIVE),
        "ffmpeg_location": ffmpeg_path(),
        "playlistend": newest,
        "ignoreerrors": True,
        "noprogress": True,
        "quiet": True,
        "no_color": True,
        "updatetime": True,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "retries": 2,
        "extractor_retries": 1,
        "logger": log,
        "progress_hooks": [progress],
    }


def _archived(folder: Path) -> set[str]:
    try:
        return set((folder / RECORDS_FOLDER / ARCHIVE).read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return set()


class _Log:
    """Receives yt-dlp's messages and keeps its errors."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def debug(self, message: str) -> None:
        """Ignore what it does."""

    def warning(self, message: str) -> None:
        """Ignore what it can do without."""

    def error(self, message: str) -> None:
        """Keep an error."""
        self._errors.append(re.sub(r"\x1b\[[\d;]*m|^ERROR: ", "", message))

    def failures(self, address: str) -> Iterator[str]:
        """Yield one sentence for each error."""
        for message in dict.fromkeys(self._errors):
            yield f"{address} {sentence(message)}"


def sentence(message: str) -> str:
    """Return the end of a sentence that begins with an address, for a message of yt-dlp."""
    for pattern, said in _SENTENCES:
        if re.search(pattern, message, re.IGNORECASE):
            return said
    first = message.split(";", maxsplit=1)[0].splitlines()[0] if message else "no reason is known"
    return f"could not be downloaded ({first.rstrip('. ')})."
