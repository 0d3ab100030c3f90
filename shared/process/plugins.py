"""Find the plugins that other packages add by entry points, and import each when it is needed."""

from importlib.metadata import EntryPoint, entry_points


class PluginBroken(Exception):
    """An entry point cannot be imported. The message holds the type and text of the original error."""


def plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, without importing them."""
    return {point.name: point for point in entry_points(group=group)}


def load_plugin(point: EntryPoint) -> object:
    """Import the object that an entry point names.

    Raises: PluginBroken: for any error in its code, so that a broken package does not affect others.
    """
    try:
        return point.load()
    except Exception as error:
        raise PluginBroken(f"{type(error).__name__}: {error}") from error


def package_of(point: EntryPoint) -> str:
    """Return the name of the distribution that provides an entry point, or of its module if there is none."""
    return point.dist.name if point.dist else point.module
