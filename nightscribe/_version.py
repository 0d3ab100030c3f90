"""The version, stated here alone: the wheel, `nightscribe --version` and `nightscribe.__version__` follow it."""

__version__ = "0.1.0"
