"""The values that all parts share: jobs, transcripts, recordings, activity. No I/O."""
