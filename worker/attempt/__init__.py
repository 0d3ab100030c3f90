"""One attempt at one job: claim its slices, transcribe them, assemble complete recordings, settle the message."""
