"""Get weights from the publishers' servers, and from the caches of the engines' libraries."""

import hashlib
import os
import re
import subprocess
import sys
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
from nightscribe.worker.weights.download_process import fetched

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


def cached_ctranslate2(repo_id: str) -> Path | None:
    """Return the model's folder in the Hugging Face cache, or None if it is missing or incomplete."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=PATTERNS, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if all((folder / name).is_file() for name in NEEDED) else None


def fetch_ctranslate2(repo_id: str) -> Path:
    """Download the model into the Hugging Face cache, and return its folder there.

    Raises: WeightsError: if the hub does not respond within seconds, lacks the model, or sends a damaged one.
    """
    folder = fetch_snapshot(repo_id, PATTERNS, NEEDED)
    # The cache names a large file by the SHA-256 that the hub announced, but checks only its size.
    blob = (folder / "model.bin").resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256_of(blob) != blob.name:
        (folder / "model.bin").unlink()
        blob.unlink()
        raise WeightsError(
            f"model.bin of {repo_id} from {_host()} does not have the announced SHA-256, so it was deleted"
        )
    return folder


def fetch_snapshot(repo_id: str, patterns: Sequence[str], needed: Sequence[str]) -> Path:
    """Download files of a repository into the Hugging Face cache, and return their folder there.

    Raises: WeightsError: if the hub does not respond within seconds, or lacks one of the files in `needed`.
    """
    import huggingface_hub

    host = _host()
    # snapshot_download would wait for the first response without a timeout.
    _probe(host, lambda: huggingface_hub.HfApi().model_info(repo_id, timeout=RESPONSE_TIMEOUT_S))
    command = [sys.executable, "-P", "-m", "nightscribe.worker.weights.hub_download", repo_id, *patterns]
    done = fetched(command, into=_cache(repo_id), stdout=subprocess.PIPE, stderr=None)
    output = done.stdout.splitlines() or [f"it ended with exit code {done.returncode}"]
    if done.returncode != 0:
        raise WeightsError(f"the download of {repo_id} from {host} failed: {output[0].rstrip('.')}")
    folder = Path(output[-1])
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{repo_id} at {host} has no {' and no '.join(missing)}")
    return folder


def _host() -> str:
    """Return the host of the hub that the environment names."""
    import huggingface_hub.constants

    return str(urlsplit(huggingface_hub.constants.ENDPOINT).netloc)


def _cache(repo_id: str) -> Path:
    """Return the folder of a model in the Hugging Face cache.

    Source: huggingface_hub/file_download.py, `repo_folder_name`.
    """
    import huggingface_hub.constants

    return Path(huggingface_hub.constants.HF_HUB_CACHE) / "--".join(["models", *repo_id.split("/")])


def cached_openai(model: str) -> Path | None:
    """Return the checkpoint in openai-whisper's own cache, or None if it is missing or has a wrong SHA-256."""
    folder = _whisper_cache()
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
    target = _whisper_cache() / Path(url).name
    with workshop(target) as scratch:
        if target.is_file() and sha256_of(target) == sha256:
            return target
        built = scratch / target.name
        download(url, sha256, built)
        publish(built, target)
    return target


def check_reachable(url: str) -> None:
    """Raise WeightsError if the server of a file does not respond within seconds, or does not have it."""
    _probe(urlsplit(url).netloc, lambda: _open(url, RESPONSE_TIMEOUT_S, method="HEAD").close())


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


def _whisper_cache() -> Path:
    """Return the folder of openai-whisper's own cache. Source: openai/whisper __init__.py, `load_model`."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"


def _open(url: str, timeout_s: float, method: str = "GET") -> Any:
    """Open a URL and return the response; like whisper, urllib uses the proxies that the environment names."""
    return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=timeout_s)  # noqa: S310  whisper's


def _probe(host: str, request: Callable[[], object]) -> None:
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
