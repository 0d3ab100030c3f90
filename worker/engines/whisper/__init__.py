"""Whisper: its steps, its fallback and its quality rules, one file for each runtime."""
