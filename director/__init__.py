"""Find missing transcripts, queue jobs for them, and follow the jobs."""
