"""Weights of Whisper models: the known names, and how to find or download their files."""
