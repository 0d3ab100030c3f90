"""The worker, which receives, transcribes, stores and deletes one job at a time."""
