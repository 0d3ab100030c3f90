"""Hear who speaks when in a slice. `shared/speakers/` puts the slices of a recording together."""
