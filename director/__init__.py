"""What is missing, and in which jobs it is queued."""
