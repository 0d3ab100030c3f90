"""From a slice of sound to its partial result."""
