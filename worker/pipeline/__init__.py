"""Turn a slice of sound into its `Part`: windows, speech detection, recognition, segments."""
