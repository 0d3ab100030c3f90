"""For `python -P -m nightscribe`, by which `run` starts its workers."""

from nightscribe.cli import main

main()
