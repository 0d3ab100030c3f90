"""Search all transcripts of a destination. The index is made from the records and can be deleted at any time."""
