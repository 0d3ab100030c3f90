"""Report the results of a run as JSON and as a page: what was done, by which worker, and when."""
