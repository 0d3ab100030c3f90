"""Send a notice when a run is over: to the desktop, a webhook, a chat or by mail, with apprise."""

from collections.abc import Sequence
from importlib.util import find_spec

from nightscribe.shared.errors import ExtraMissing, SetupError


def check_addresses(addresses: Sequence[str]) -> None:
    """Raise SetupError if no notice could be sent to one of these addresses."""
    if not addresses:
        return
    if find_spec("apprise") is None:
        raise ExtraMissing("--notify needs a package that is not installed.", "notify")
    from apprise import Apprise

    for address in addresses:
        if not Apprise().add(address):
            raise SetupError(
                f"--notify {_scheme(address)}… is no address that apprise knows, such as json://host/path (a webhook), "
                "mailto://user:password@host, dbus:// (the desktop)."
            )


def notify(addresses: Sequence[str], title: str, text: str) -> list[str]:
    """Send the notice, and return a sentence for each address that did not take it."""
    if not addresses:
        return []
    from apprise import Apprise

    return [
        f"The notice to {_scheme(address)}… was not taken."
        for address in addresses
        if not (one := Apprise(), one.add(address))[0].notify(title=title, body=text)
    ]


def _scheme(address: str) -> str:
    """Return the part of an address that holds no password."""
    return address.partition("://")[0] + "://"
