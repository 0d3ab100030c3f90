"""The parts of `bench/chaos.py`."""
