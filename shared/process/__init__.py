"""Processes on this machine: children, liveness, threads, cores and temporary folders."""
