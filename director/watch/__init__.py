"""A director that stays: it queues recordings as they arrive."""
