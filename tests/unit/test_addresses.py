"""The server connects only to public addresses and to what an administrator allows, however a URL spells it."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from unittest.mock import patch

import anyio
import pytest
from support.web import Reply, WebServer

from nightscribe.server import outgoing
from nightscribe.server.address_policy import AddressPolicy, is_public
from nightscribe.server.fetch import Fetched, FetchFailed, FetchLimits, fetch
from nightscribe.server.outgoing import AddressRefused, checked_url
from nightscribe.shared.errors import ValueRefused

LOOPBACK = AddressPolicy.of(["127.0.0.0/8"])


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.2.1"),
        *("0.0.0.0", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1"),
        *("::", "::1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"),
    ],
)
def test_an_address_that_is_not_on_the_internet_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "ftp://example.org/a",
            "gopher://example.org",
            "data:,a",
            "example.org/a",
            "",
            "http://",
        ),
        *("http://user:word@example.org/", "http://user@example.org/", "http://127.0.0.1\\@example.org/", "http://\0/"),
    ],
)
def test_a_url_that_does_not_only_name_a_host_and_a_path_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        checked_url(url)


def test_an_administrator_allows_networks_addresses_and_hosts() -> None:
    policy = AddressPolicy.of(["10.0.0.0/8", "fd00::/8", "192.168.1.7", "media.example.org"])
    assert policy.allows("whatever", ip_address("10.2.3.4"))
    assert policy.allows("whatever", ip_address("fd00::1"))
    assert policy.allows("whatever", ip_address("192.168.1.7"))
    assert policy.allows("Media.example.org.", ip_address("172.16.0.1"))
    assert not policy.allows("whatever", ip_address("192.168.1.8"))
    assert not policy.allows("a.media.example.org", ip_address("172.16.0.1"))
    assert policy.is_exception("10.1.1.1")
    assert not policy.is_exception("8.8.8.8")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://example.org", "two words"])
def test_an_entry_that_is_neither_a_network_nor_a_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueRefused, match="neither a network"):
        AddressPolicy.of([entry])


@pytest.fixture
def web(sockets: None) -> Iterator[WebServer]:
    """A server on loopback."""
    with WebServer() as server:
        yield server


def fetched(
    url: str, path: Path, policy: AddressPolicy = LOOPBACK, max_bytes: int = 1000, timeout_s: float = 20
) -> Fetched:
    async def run() -> Fetched:
        return await fetch(url, path, policy=policy, limits=FetchLimits(1000, timeout_s))

    return anyio.run(run)


def test_a_file_is_fetched_with_its_name(web: WebServer, tmp_path: Path) -> None:
    web.replies["/a%20talk.mp3?key=1"] = Reply(body=b"sound")
    found = fetched(web.url + "/a%20talk.mp3?key=1", tmp_path / "here")
    assert (found.name, found.size) == ("a talk.mp3", 5)
    assert (tmp_path / "here").read_bytes() == b"sound"
    assert web.requests[0].headers["host"] == web.host


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("attachment; filename*=UTF-8''%E2%82%AC.mp3", "€.mp3"),
        ('attachment; filename=".."', "recording"),
        ("inline", "x"),
    ],
)
def test_the_name_that_the_other_server_states_leads_nowhere_else(
    web: WebServer, tmp_path: Path, disposition: str, name: str
) -> None:
    web.replies["/x"] = Reply(body=b"sound", headers={"Content-Disposition": disposition})
    assert fetched(web.url + "/x", tmp_path / "here").name == name


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_no_spelling_of_this_machine_is_fetched(web: WebServer, tmp_path: Path, host: str) -> None:
    with pytest.raises(AddressRefused):
        fetched(f"http://{host}:{web.port}/x", tmp_path / "here", AddressPolicy())
    assert not web.requests
    assert not list(tmp_path.iterdir())


def test_a_name_that_resolves_to_a_private_address_is_not_fetched(web: WebServer, tmp_path: Path) -> None:
    async def resolved(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("8.8.8.8", port)), (0, 0, 0, "", ("127.0.0.1", port))]

    with patch.object(outgoing.anyio, "getaddrinfo", resolved), pytest.raises(AddressRefused):
        fetched(f"http://innocent.example:{web.port}/x", tmp_path / "here", AddressPolicy())
    assert not web.requests


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(web: WebServer, tmp_path: Path) -> None:
    """After DNS rebinding, the second answer would be another address; nobody asks for it."""
    answers = ["127.0.0.1", "127.0.0.2"]

    async def resolved(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (answers.pop(0), port))]

    web.replies["/x"] = Reply(body=b"sound")
    with patch.object(outgoing.anyio, "getaddrinfo", resolved):
        fetched(f"http://rebinding.example:{web.port}/x", tmp_path / "here")
    assert answers == ["127.0.0.2"]
    assert web.requests[0].headers["host"] == f"rebinding.example:{web.port}"


def test_every_redirect_is_checked_again(web: WebServer, tmp_path: Path) -> None:
    web.replies["/good"] = Reply(302, headers={"Location": "/file"})
    web.replies["/file"] = Reply(body=b"sound")
    assert fetched(web.url + "/good", tmp_path / "here").url == web.url + "/file"
    for target in ("http://10.0.0.1/", "http://169.254.169.254/latest/", "file:///etc/passwd", "http://a:b@127.0.0.1/"):
        web.replies["/bad"] = Reply(302, headers={"Location": target})
        with pytest.raises(AddressRefused):
            fetched(web.url + "/bad", tmp_path / "there")
    web.replies["/loop"] = Reply(302, headers={"Location": "/loop"})
    with pytest.raises(FetchFailed, match="redirects"):
        fetched(web.url + "/loop", tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_what_is_too_large_too_slow_or_refused_leaves_nothing(web: WebServer, tmp_path: Path) -> None:
    web.replies["/stated"] = Reply(body=b"x" * 1001)
    web.replies["/unstated"] = Reply(body=b"x" * 1001, chunked=True)
    web.replies["/gone"] = Reply(404)
    web.replies["/empty"] = Reply(body=b"")
    web.replies["/packed"] = Reply(body=b"x", headers={"Content-Encoding": "gzip"})
    web.replies["/cut"] = Reply(body=b"x", headers={"Content-Length": "5"})
    for path, why in {
        "/stated": "larger than",
        "/unstated": "larger than",
        "/gone": "status 404",
        "/empty": "empty",
        "/packed": "compressed",
        "/cut": "cannot be fetched",
    }.items():
        with pytest.raises(FetchFailed, match=why) as caught:
            fetched(web.url + path, tmp_path / "here")
        assert caught.value.code in ("url_failed", "too_large")
    web.replies["/slow"] = Reply(body=b"x", delay_s=5)
    with pytest.raises(FetchFailed, match="within"):
        fetched(web.url + "/slow", tmp_path / "here", timeout_s=0.3)
    with pytest.raises(FetchFailed, match="cannot be fetched"):
        fetched("http://127.0.0.1:1/x", tmp_path / "here")
    assert not list(tmp_path.iterdir())
