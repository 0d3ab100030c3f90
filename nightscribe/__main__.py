"""The entry point of the console script and of `python -P -m nightscribe`, with which `run` starts its workers."""

import sys


def main() -> None:
    """Run the command that was typed."""
    if sys.argv[1:] == ["health"]:
        # Called in every container all night: it must not load, for a second, what the other commands need.
        from nightscribe.cli.health_check import check_health

        sys.exit(check_health())
    try:
        from nightscribe.cli.main import main as command

        command()
    except KeyboardInterrupt:  # while the modules that a command needs are loaded
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
