"""The front door: the one command and its subcommands."""
