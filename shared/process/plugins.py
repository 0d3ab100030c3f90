"""Find what other installed packages add to nightscribe, by their entry points, and import it when it is needed."""

from importlib.metadata import EntryPoint, entry_points


class PluginBroken(Exception):
    """An entry point cannot be imported. Its text is the type and the message of what its code raised."""


def plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, without importing them."""
    return {point.name: point for point in entry_points(group=group)}


def load_plugin(point: EntryPoint) -> object:
    """Import what an entry point leads to.

    Raises: PluginBroken: whatever its code raises, so that a broken package harms no other.
    """
    try:
        return point.load()
    except Exception as error:
        raise PluginBroken(f"{type(error).__name__}: {error}") from error


def package_of(point: EntryPoint) -> str:
    """Return the name of the distribution that an entry point comes from, or else of its module."""
    return point.dist.name if point.dist else point.module
