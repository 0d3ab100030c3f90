"""Decide which local voices of a recording are one speaker, and which speakers of several recordings one person."""
