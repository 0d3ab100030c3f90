"""The entry: the console script, and `python -P -m nightscribe`, by which `run` starts its workers."""

import sys


def main() -> None:
    """Run the command that was typed."""
    if sys.argv[1:] == ["health"]:
        # Asked of every container all night: it must not load, for a second, what the other commands need.
        from nightscribe.cli.health import health

        sys.exit(health())
    try:
        from nightscribe.cli.main import main as command

        command()
    except KeyboardInterrupt:  # in the second in which what the commands need is loaded
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
