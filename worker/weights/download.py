"""`python -m worker.weights.download REPO_ID PATTERN…`: from the Hugging Face hub into its cache on this machine.

In a process of its own, because the library's threads go on after an interruption, and Python waits for them at its
end. Prints the folder, or why there is none, and shows its progress on stderr.
"""

import signal
import sys


def main() -> None:
    """Fetch it."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C comes to all processes of a terminal; who started this ends it
    import huggingface_hub

    repo_id, *patterns = sys.argv[1:]
    try:
        print(huggingface_hub.snapshot_download(repo_id, allow_patterns=patterns))
    except Exception as error:  # noqa: BLE001  whatever it was is told to the user
        print(str(error).strip() or type(error).__name__)
        sys.exit(1)


if __name__ == "__main__":
    main()
