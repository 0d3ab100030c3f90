"""Use a table as SOURCE: one of its columns names the recordings."""
