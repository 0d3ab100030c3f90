"""What a destination knows: transcripts, failures, partial results and their keys."""
