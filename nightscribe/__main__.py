"""Start the command line, for the console script and for `python -P -m nightscribe`, which `run` uses for workers."""

import sys


def main() -> None:
    """Run the command that was typed."""
    if sys.argv[1:] == ["health"]:
        # Containers call it all night, so it must not spend a second on importing what other commands need.
        from nightscribe.cli.health_check import check_health

        sys.exit(check_health())
    try:
        from nightscribe.cli.main import main as command

        command()
    except KeyboardInterrupt:  # while the modules of a command are being imported
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
