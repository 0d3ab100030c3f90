"""Start and supervise what `run` needs on one machine: the queue server and the worker processes."""
