"""Where recordings come from and transcripts go: one backend for each kind of storage, found by the scheme of a URL."""
