"""Processes of this machine: children, liveness, threads, cores and temporary folders."""
