"""Folders in this machine's file system, including network shares."""
