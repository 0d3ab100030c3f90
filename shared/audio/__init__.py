"""Decode recordings into waveforms."""
