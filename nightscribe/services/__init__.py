"""Implement each use case as a function of plain values; commands and views only show the results."""
