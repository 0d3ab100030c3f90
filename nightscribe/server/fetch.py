"""Fetch a recording from a URL that somebody else has chosen, to a file."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import anyio
import httpcore2
import httpx2

from nightscribe._version import __version__
from nightscribe.server.address_policy import AddressPolicy
from nightscribe.server.jobs.names import clean_name
from nightscribe.server.outgoing import CONNECT_TIMEOUT_S, AddressRefused, checked_url, core_url, guarded_pool
from nightscribe.shared.errors import MachineError, PermanentError

READ_TIMEOUT_S = 30.0
MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class FetchFailed(PermanentError):
    """A URL could not be fetched."""

    code = "url_failed"


class TooLarge(FetchFailed):
    """There is more at a URL than may be fetched."""

    code = "too_large"


@dataclass(frozen=True)
class FetchLimits:
    """How much and how long may be fetched."""

    max_bytes: int
    timeout_s: float


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched."""

    path: Path
    size: int
    """Bytes."""
    name: str
    """A name for the file, as the other server or the URL suggests; without folders."""
    url: str
    """The URL after all redirects."""


async def fetch(
    url: str,
    path: Path,
    *,
    policy: AddressPolicy,
    limits: FetchLimits,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Fetched:
    """Fetch a URL to a file, which exists only once it is complete.

    Every redirect is checked as the first URL is. `progress` is called with the bytes done and, if known, in all.

    Raises: AddressRefused: if the URL or a redirect leads to an address that is not allowed. FetchFailed: if the other
    server refuses, is too slow or sends too much. MachineError: if the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with anyio.fail_after(limits.timeout_s):
            async with guarded_pool(policy) as pool:
                fetched = await _follow(pool, checked_url(url), part, limits, progress)
        part.replace(path)
    except TimeoutError:
        raise FetchFailed(f"The URL was not fetched within {limits.timeout_s:g} s.") from None
    except httpcore2.TimeoutException:
        raise FetchFailed("The server of the URL does not respond in time.") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as error:
        raise FetchFailed(f"The URL cannot be fetched: {_reason(error)}.") from None
    except OSError as error:
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "machine_trouble"
        raise MachineError(f"The server cannot store what it fetches: {error.strerror}.", code=code) from None
    finally:
        part.unlink(missing_ok=True)
    return Fetched(path, fetched.size, fetched.name, fetched.url)


async def _follow(
    pool: httpcore2.AsyncConnectionPool,
    url: httpx2.URL,
    path: Path,
    limits: FetchLimits,
    progress: Callable[[int, int | None], None],
) -> Fetched:
    for _ in range(MAX_REDIRECTS + 1):
        headers = [
            (b"host", url.netloc),
            (b"user-agent", f"nightscribe/{__version__}".encode()),
            (b"accept-encoding", b"identity"),
        ]
        timeouts = {"connect": CONNECT_TIMEOUT_S, "read": READ_TIMEOUT_S, "write": READ_TIMEOUT_S, "pool": None}
        async with pool.stream("GET", core_url(url), headers=headers, extensions={"timeout": timeouts}) as response:
            received = httpx2.Headers(response.headers)
            if response.status in _REDIRECTS and (target := received.get("location")):
                url = _redirected(url, target)
                continue
            if response.status != 200:
                raise FetchFailed(f"The server of the URL responds with the status {response.status}.")
            size = await _store(response, received, path, limits, progress)
            return Fetched(path, size, _name(url, received), str(url))
    raise FetchFailed(f"The URL leads to more than {MAX_REDIRECTS} redirects.")


def _redirected(url: httpx2.URL, target: str) -> httpx2.URL:
    try:
        following = url.join(target)
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        raise FetchFailed("The URL redirects to something that is not a URL.") from None
    if url.scheme == "https" and following.scheme != "https":
        raise AddressRefused("The URL redirects from https:// to an address that is not encrypted.")
    return checked_url(str(following))


async def _store(
    response: httpcore2.Response,
    headers: httpx2.Headers,
    path: Path,
    limits: FetchLimits,
    progress: Callable[[int, int | None], None],
) -> int:
    """Write the body to a file and return its size in bytes."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("The server of the URL sends compressed data, although it was not asked for.")
    stated = headers.get("content-length", "")
    total = int(stated) if stated.isascii() and stated.isdigit() else None
    too_large = TooLarge(f"The file at the URL is larger than {limits.max_bytes:,} bytes.")
    if total is not None and total > limits.max_bytes:
        raise too_large
    size = 0
    async with await anyio.open_file(path, "wb") as file:
        async for chunk in response.aiter_stream():
            size += len(chunk)
            if size > limits.max_bytes:
                raise too_large
            await file.write(chunk)
            progress(size, total)
        await file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
    if not size:
        raise FetchFailed("There is nothing at the URL: it is empty.")
    return size


def _name(url: httpx2.URL, headers: httpx2.Headers) -> str:
    """Return the name of the file as the other server states it, else the last part of the URL's path."""
    message = Message()
    message["content-disposition"] = headers.get("content-disposition", "")
    stated = message.get_filename() or unquote(PurePosixPath(url.path).name)
    return clean_name(stated)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or "the connection failed"
