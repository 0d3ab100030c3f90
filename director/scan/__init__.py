"""The source compared with the destination: what is finished, what is missing."""
