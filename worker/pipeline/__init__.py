"""From a slice of sound to its `Part`: windows, speech detection, recognition, segments."""
