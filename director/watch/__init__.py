"""Watch a source, and queue recordings as they arrive."""
