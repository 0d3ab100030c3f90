"""Plan the jobs for the missing recordings."""
