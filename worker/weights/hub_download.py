"""Download a model from the Hugging Face hub into its cache.

Usage: `python -m nightscribe.worker.weights.hub_download REPO_ID REVISION PATTERN…`. It runs in its own process,
because the library's threads continue after an interruption and Python waits for them before it exits. It prints the
folder or the reason of a failure, and shows its progress on stderr.
"""

import signal
import sys


def main() -> None:
    """Download the files and print their folder."""
    # Ctrl-C reaches all processes of a terminal, but the process that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import huggingface_hub

    repo_id, revision, *patterns = sys.argv[1:]
    try:
        print(huggingface_hub.snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except Exception as error:  # noqa: BLE001  any error is shown to the user
        print(str(error).strip() or type(error).__name__)
        sys.exit(1)


if __name__ == "__main__":
    main()
