"""Compare the source with the destination: what is finished, what failed, what is missing."""
