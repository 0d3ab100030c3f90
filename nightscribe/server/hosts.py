"""Know the names under which a server may be reached. Pure."""

from collections.abc import Collection
from ipaddress import ip_address


def name_of(host: str) -> str:
    """Return the name in a Host header, without its port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def is_loopback_name(host: str) -> bool:
    """Return whether a Host header names this machine itself. No name server can give such a name to another site."""
    name = name_of(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_allowed(host: str, allowed: Collection[str], *, on_loopback: bool) -> bool:
    """Return whether a request for this host is for us.

    A name server of an attacker may let a browser believe that our address belongs to their site ("DNS rebinding"). On
    loopback, where no token is required, only this machine's own names are therefore taken, besides those in `allowed`.
    """
    if on_loopback and is_loopback_name(host):
        return True
    if allowed:
        return "*" in allowed or name_of(host) in allowed
    return not on_loopback
