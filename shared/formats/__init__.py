"""From a transcript to the files people read."""
