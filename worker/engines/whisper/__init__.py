"""Whisper: its steps, its fallback and its quality rules, with one file for each runtime."""
