"""Get weights from the publishers' servers, and from the caches of the engines' libraries."""

import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import report_alive
from nightscribe.worker.weights.cache_build import publish, workshop

RESPONSE_TIMEOUT_S = 5.0  # a hub that does not respond for this long is treated as unreachable
STALL_S = 30.0  # a download that receives nothing for this long has failed
CHUNK_BYTES = 1 << 20

# Source: faster_whisper/utils.py, `download_model`.
PATTERNS = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
# Without tokenizer.json, faster-whisper would download another one.
NEEDED = ("config.json", "model.bin", "tokenizer.json")


def offline_switch() -> str | None:
    """Return the name of the variable that forbids all network access, if one is set.

    Source: huggingface_hub/constants.py.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return name
    return None


def cached_ctranslate2(repo_id: str, models_dir: Path | None = None, revision: str | None = None) -> Path | None:
    """Return the model's folder in the Hugging Face cache, or None if it is missing or incomplete.

    `models_dir`: where downloads are noted; the revision that was noted comes first.
    """
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    from nightscribe.worker.weights import pinned

    noted = pinned.read_pinned(models_dir, repo_id, revision) if models_dir else None
    if noted and all(name in noted.files for name in NEEDED):
        return noted.folder
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                repo_id, revision=revision, allow_patterns=PATTERNS, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None
    return folder if all((folder / name).is_file() for name in NEEDED) else None


def fetch_ctranslate2(repo_id: str, models_dir: Path | None = None, revision: str | None = None) -> Path:
    """Download the model into the Hugging Face cache, and return its folder there.

    Raises: WeightsError: if the hub does not respond within seconds, lacks the model, or sends a damaged one.
    """
    return fetch_snapshot(repo_id, PATTERNS, NEEDED, models_dir, revision)


def fetch_snapshot(
    repo_id: str,
    patterns: Sequence[str],
    needed: Sequence[str],
    models_dir: Path | None = None,
    revision: str | None = None,
) -> Path:
    """Download files of a repository into the Hugging Face cache, and return their folder there.

    Raises: WeightsError: if the hub does not respond within seconds, lacks one of the files in `needed`, or sends a
    damaged one.
    """
    from nightscribe.worker.weights import pinned

    found = pinned.listing(repo_id, revision)
    names = pinned.matching(list(found.files), patterns)
    return pinned.fetch(found, [*names, *(name for name in needed if name not in names)], models_dir, revision)


def host() -> str:
    """Return the host of the hub that the environment names."""
    import huggingface_hub.constants

    return str(urlsplit(huggingface_hub.constants.ENDPOINT).netloc)


def cache_folder(repo_id: str) -> Path:
    """Return the folder of a model in the Hugging Face cache.

    Source: huggingface_hub/file_download.py, `repo_folder_name`.
    """
    try:
        import huggingface_hub.constants

        cache = huggingface_hub.constants.HF_HUB_CACHE
    except ImportError:  # no engine that needs the library is installed, but others may use its cache
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface"
        cache = os.environ.get("HF_HUB_CACHE") or f"{os.environ.get('HF_HOME') or home}/hub"
    return Path(cache) / "--".join(["models", *repo_id.split("/")])


def cached_openai(model: str) -> Path | None:
    """Return the checkpoint in openai-whisper's own cache, or None if it is missing or has a wrong SHA-256."""
    folder = whisper_cache()
    if not any(folder.glob("*.pt")):
        return None  # importing whisper would take seconds
    url, sha256 = _published(model)
    checkpoint = folder / Path(url).name
    return checkpoint if checkpoint.is_file() and sha256_of(checkpoint) == sha256 else None


def fetch_openai(model: str) -> Path:
    """Download the checkpoint into openai-whisper's own cache, under its usual name, and return its path.

    Unlike whisper's own download, this one has a timeout and never leaves a partial file under the final name.

    Raises: WeightsError: if the server does not respond within seconds or sends another file. OSError: if the disk
    fails.
    """
    url, sha256 = _published(model)
    check_reachable(url)
    target = whisper_cache() / Path(url).name
    with workshop(target) as scratch:
        if target.is_file() and sha256_of(target) == sha256:
            return target
        built = scratch / target.name
        download(url, sha256, built)
        publish(built, target)
    return target


def check_reachable(url: str) -> None:
    """Raise WeightsError if the server of a file does not respond within seconds, or does not have it."""
    probe(urlsplit(url).netloc, lambda: _open(url, RESPONSE_TIMEOUT_S, method="HEAD").close())


def download(url: str, sha256: str, path: Path) -> None:
    """Write the file at a URL.

    Raises: WeightsError: if the download fails, or the file does not have this SHA-256; then `path` is not kept.
    """
    try:
        with _open(url, STALL_S) as source, path.open("wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
                report_alive()
    except OSError as error:
        path.unlink(missing_ok=True)
        raise WeightsError(f"the download of {url} failed: {_reason(error)}") from error
    if sha256_of(path) != sha256:
        path.unlink()
        raise WeightsError(f"{path.name} from {urlsplit(url).netloc} is damaged or a different file, so it was deleted")


def _published(model: str) -> tuple[str, str]:
    """Return the checkpoint's URL, and its SHA-256, which is part of the URL."""
    import whisper

    url: str = whisper._MODELS[model]  # noqa: SLF001  the library offers no other access to its URLs
    return url, url.split("/")[-2]


def whisper_cache() -> Path:
    """Return the folder of openai-whisper's own cache. Source: openai/whisper __init__.py, `load_model`."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"


def _open(url: str, timeout_s: float, method: str = "GET") -> Any:
    """Open a URL and return the response; like whisper, urllib uses the proxies that the environment names."""
    return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=timeout_s)  # noqa: S310  whisper's


def probe(host: str, request: Callable[[], object]) -> None:
    """Check that a host can be used by sending a request, which may take a few seconds at most.

    The request runs in a thread, because a name lookup has no timeout and takes half a minute without a name server.

    Raises: WeightsError: if the request fails or takes too long.
    """
    failures: list[Exception] = []

    def send() -> None:
        try:
            request()
        except Exception as error:  # noqa: BLE001  any error is reported to the user
            failures.append(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(RESPONSE_TIMEOUT_S + 1)
    if thread.is_alive():
        raise WeightsError(f"{host} did not respond within {RESPONSE_TIMEOUT_S:g} s")
    if failures:
        raise WeightsError(f"{host} cannot be used: {_reason(failures[0])}") from failures[0]


def _reason(error: Exception) -> str:
    """Return the first line of an error's message."""
    inner = (
        error.reason
        if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError)
        else error
    )
    lines = str(inner).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            report_alive()
    return digest.hexdigest()
