"""What both sides must agree on: jobs, queue, sources, store, transcripts, formats, settings, errors, log."""
