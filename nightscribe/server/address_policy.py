"""Decide to which addresses the server may connect when somebody else chooses the URL. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from nightscribe.shared.errors import ValueRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class AddressPolicy:
    """Which hosts may be connected to: public addresses, and what an administrator allows besides."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allowed: Iterable[str]) -> "AddressPolicy":
        """Return the policy that also allows these networks (`10.0.0.0/8`), addresses and host names.

        Raises: ValueRefused: if an entry is none of these.
        """
        networks: list[Network] = []
        names: set[str] = set()
        for entry in allowed:
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                if "/" in entry or ":" in entry or " " in entry:
                    raise ValueRefused(
                        f"{entry!r} is neither a network such as 10.0.0.0/8 nor an address nor the name of a host."
                    ) from None
                names.add(entry.lower().rstrip("."))
        return cls(tuple(networks), frozenset(names))

    def allows(self, host: str, address: Address) -> bool:
        """Return whether a host may be connected to at this address."""
        return is_public(address) or self.is_exception(host) or self.is_exception(str(address))

    def is_exception(self, host: str) -> bool:
        """Return whether an administrator has allowed a host by its name or its address."""
        try:
            address = ip_address(host)
        except ValueError:
            return host.lower().rstrip(".") in self.names
        return any(address in network for network in self.networks if network.version == address.version)


def is_public(address: Address) -> bool:
    """Return whether an address is on the internet. If it stands for an IPv4 address, that one is judged."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        embedded = [address.sixtofour, *(address.teredo or ())]
        if address.is_site_local or any(each and not is_public(each) for each in embedded):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
