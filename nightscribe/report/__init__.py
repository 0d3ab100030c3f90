"""Report what came of a run: who did what when, as JSON and as a page."""
