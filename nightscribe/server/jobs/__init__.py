"""The way of a recording through the server: an upload becomes a recording, a job on a queue, and a transcript.

The server does nothing in a way of its own: it sends jobs as a director does, ordinary workers do them, and results are
ordinary records in the destination. `service.py` has the functions that every part of the server calls.
"""
