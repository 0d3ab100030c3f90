"""Render results and events for people, as lines and live views."""
