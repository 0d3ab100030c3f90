"""Weights of Whisper models: known names, and the way from a name to files on this machine."""
