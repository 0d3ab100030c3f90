"""Speech engines behind one seam, imported only when chosen."""
