"""Serve recordings, transcripts and jobs over HTTP: an API for programs and a page for people, over the services."""
