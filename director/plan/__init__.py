"""Which jobs the missing recordings are queued in."""
