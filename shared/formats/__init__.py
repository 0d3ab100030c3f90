"""Write transcripts as the files that people read, one module a format."""
