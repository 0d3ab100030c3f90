"""One job at a time: receive, transcribe, store, delete."""
