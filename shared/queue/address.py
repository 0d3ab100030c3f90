"""Parse the address of a queue, which is its name alone or its URL. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

AMAZONS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
INTERACTIVE = "-interactive"
_REGION = re.compile(r"(?:^|\.)([a-z]{2}(?:-[a-z]+)+-\d)\.")  # in the names of Amazon's servers, new and old
_NAME = re.compile(r"[A-Za-z0-9_-]{1,70}\.fifo")


@dataclass(frozen=True)
class QueueAddress:
    """The name of a queue and, if a URL states it, the queue's location."""

    name: str
    owner: str | None = None
    """Account id, if the URL is on AWS."""
    region: str | None = None
    endpoint: str | None = None
    """Address of the server, if it is not on AWS."""

    @classmethod
    def parse(cls, address: str) -> "QueueAddress":
        """Parse a name or a URL.

        Raises: ValueError: if nightscribe cannot use such a queue; the error message says why.
        """
        url = urlsplit(address) if "://" in address else None
        owner, _, name = url.path.strip("/").rpartition("/") if url else ("", "", address)
        if not name.endswith(".fifo"):
            raise ValueError(
                f"{name!r} is not the name of a FIFO queue, which ends in .fifo. A standard queue will not do, because "
                "it may deliver one job to two workers. Create a FIFO queue, or let the director do it"
            )
        if not _NAME.fullmatch(name):
            raise ValueError("a queue's name can have at most 70 letters, digits, - and _ before .fifo")
        if not url:
            return cls(name)
        server = f"{url.scheme}://{url.netloc}"
        if not is_amazons(server):
            return cls(name, endpoint=server)
        region = _REGION.search(url.netloc)
        return cls(name, owner or None, region[1] if region else None)


def interactive_address(address: str) -> str:
    """Return the address of the queue for interactive work that belongs to a queue, on the same server.

    Raises: ValueError: if its name would be too long.
    """
    return check_address(f"{address.removesuffix('.fifo')}{INTERACTIVE}.fifo")


def is_amazons(url: str) -> bool:
    """Return whether a server is Amazon's own."""
    return (urlsplit(url).hostname or "").endswith(AMAZONS)


def check_address(address: str) -> str:
    """Return the address unchanged. Raises: ValueError: if it is not valid (see `QueueAddress.parse`)."""
    QueueAddress.parse(address)
    return address
