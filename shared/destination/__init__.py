"""The contents of a destination: transcripts, failures, partial results and their keys."""
