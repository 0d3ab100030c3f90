"""Storage of recordings and transcripts, with one backend for each URL scheme."""
