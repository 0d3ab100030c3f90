"""Chaos: the parts of `./build.sh bench chaos`."""
