"""Everything that `run` starts on one machine: the queue server and the worker processes."""
