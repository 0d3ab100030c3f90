"""Write transcripts as files that people read, with one module per format."""
