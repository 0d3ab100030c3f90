"""The command line: one file a command. Imports nothing, for `nightscribe health` must load next to nothing."""
