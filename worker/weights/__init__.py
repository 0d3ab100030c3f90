"""Weights of Whisper models: the known names, and how to get from a name to files on this machine."""
