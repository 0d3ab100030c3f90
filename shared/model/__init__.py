"""The values that everything agrees on: jobs, transcripts, recordings, activity. No I/O."""
