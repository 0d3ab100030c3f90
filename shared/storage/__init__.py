"""Where recordings come from and transcripts go: one backend for each kind of place."""
