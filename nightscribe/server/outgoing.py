"""Connect to URLs that somebody else has chosen, but only to addresses that are allowed.

A name is resolved once, each of its addresses is checked, and the connection is made to a checked address. So a name
that resolves to another address a moment later (DNS rebinding) gains nothing, and redirects and unusual spellings of
an address, such as http://2130706433/, are judged by what they lead to.
"""

import socket
import ssl
from collections.abc import Iterable
from functools import cache
from ipaddress import ip_address

import anyio
import httpcore2
import httpx2

from nightscribe.server.address_policy import Address, AddressPolicy
from nightscribe.shared.errors import PermanentError

SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]

CONNECT_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 20


class AddressRefused(PermanentError):
    """The server may not connect to an address."""

    code = "url_refused"


def checked_url(url: str) -> httpx2.URL:
    """Return a URL that only names a host and a path over http or https.

    Raises: AddressRefused: if it is anything else, such as file:// or a URL with a password.
    """
    try:
        parsed = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        raise AddressRefused("The URL is not valid. Give one that begins with https:// or http://.") from None
    if parsed.scheme not in ("http", "https"):
        raise AddressRefused("The URL must begin with https:// or http://.")
    if not parsed.host:
        raise AddressRefused("The URL names no host.")
    if parsed.userinfo:
        raise AddressRefused("The URL contains a user name or a password. Give one without.")
    return parsed


async def resolve(host: str, port: int, policy: AddressPolicy) -> list[Address]:
    """Return the addresses of a host, all of which may be connected to.

    Raises: AddressRefused: if one of them may not be. OSError: if the host has none.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # Without the zone of a link-local address, which `is_public` refuses anyway.
    addresses = list(dict.fromkeys(ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found))
    if any(not policy.allows(host, address) for address in addresses):
        # The message names no address: it would tell a stranger how the network inside is numbered.
        raise AddressRefused(f"{host!r} is not a public address, so this server does not connect to it.")
    return addresses


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections only to addresses that the policy allows."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of the host that accepts.

        Raises: AddressRefused: if one of its addresses may not be connected to. httpcore2.ConnectError: if none does.
        """
        try:
            with anyio.fail_after(timeout):
                addresses = await resolve(host, port, self._policy)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"the name {host!r} could not be resolved in time") from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError(f"there is no host {host!r}") from None
        error: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore2.ConnectError(f"the host {host!r} has no address")

    async def connect_unix_socket(self, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Refuse. Raises: AddressRefused: always."""
        raise AddressRefused("The server connects to no socket of its own machine.")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpcore2.default_ssl_context()  # trusts what this machine trusts


def guarded_pool(policy: AddressPolicy) -> httpcore2.AsyncConnectionPool:
    """Return a connection pool that follows no redirects, uses no proxy, and connects only where the policy allows."""
    return httpcore2.AsyncConnectionPool(
        ssl_context=_ssl_context(), network_backend=GuardedBackend(policy), max_connections=20
    )


def core_url(url: httpx2.URL) -> httpcore2.URL:
    """Return a URL for httpcore2 without parsing it again, so that what is connected to is what was checked."""
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
