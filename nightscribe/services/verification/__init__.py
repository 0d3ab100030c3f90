"""The parts of `nightscribe.services.verify`."""
