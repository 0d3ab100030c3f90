"""Folders of this machine's file system, network shares among them."""
