"""Print what an hour of sound costs on AWS, from measured speeds, counted requests and prices for you to check.

The speeds are read from docs/performance.md, so that no figure of the result is typed in by hand. Prices are Amazon's
list prices for us-east-1 as they were known in mid-2025: look them up and give yours, as --price vcpu_h=0.01.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

PERFORMANCE = Path(__file__).parents[1] / "docs" / "performance.md"
PRICES = {  # US dollars, mid-2025
    "vcpu_h": 0.0121,  # Fargate Spot, Linux on x86: 0.04048 on demand, less 70 %; it follows supply and demand
    "gb_h": 0.00133,  # 0.004445 on demand, less 70 %
    "address_h": 0.005,  # a public IPv4 address of each task
    "sqs_million": 0.50,  # requests to a FIFO queue
    "put_thousand": 0.005,  # PUT and LIST; DELETE is free
    "get_thousand": 0.0004,  # GET and HEAD
    "log_gb": 0.50,
}
VCPUS = 1
MEMORY_GB = 2
HOUR_S = 3600

# times of words, seconds of each cue, then the speed: transcribing, with start-up, and the same by the clock
ROW = re.compile(r"^nightscribe faster-whisper +own +own +1 +words +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Seen:
    """What a director and a worker asked of buckets and queue (ministack's), and the size of their logs."""

    sound_s: float
    sqs: int
    puts_and_lists: int
    gets_and_heads: int
    log_bytes: int


SEEN = {
    "long recordings": Seen(1816, sqs=25, puts_and_lists=42, gets_and_heads=49, log_bytes=2_200),  # one
    "clips of 9 s": Seen(522, sqs=24, puts_and_lists=328, gets_and_heads=370, log_bytes=15_000),  # sixty
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=float, help="seconds of sound in a second with one vCPU (those measured)")
    parser.add_argument("--price", action="append", default=[], metavar="NAME=DOLLARS", help=", ".join(PRICES))
    given = parser.parse_args()
    prices = PRICES | {name: float(dollars) for name, _, dollars in (each.partition("=") for each in given.price)}
    if unknown := prices.keys() - PRICES.keys():
        sys.exit(f"There is no price {', '.join(sorted(unknown))}; there are {', '.join(PRICES)}.")
    speeds = dict.fromkeys(SEEN, given.speed) if given.speed else measured()
    columns = {f"{kind}, {speeds[kind]:g} ×": costs(speeds[kind], seen, prices) for kind, seen in SEEN.items()}
    print(table(columns))


def measured() -> dict[str, float]:
    """The speeds with `base` and one thread, as docs/performance.md has them."""
    found = [float(speed) for speed in ROW.findall(PERFORMANCE.read_text())]
    if len(found) != len(SEEN):
        sys.exit(f"{PERFORMANCE} has not one row of nightscribe for long recordings and one for clips.")
    return dict(zip(SEEN, found, strict=True))


def costs(speed: float, seen: Seen, prices: dict[str, float]) -> dict[str, float]:
    """What one hour of sound costs, by what is paid for. Transcripts are too small to count as storage."""
    task_h = 1 / speed
    share = HOUR_S / seen.sound_s
    return {
        "vCPU": task_h * VCPUS * prices["vcpu_h"],
        "memory": task_h * MEMORY_GB * prices["gb_h"],
        "public address": task_h * prices["address_h"],
        "queue": share * seen.sqs * prices["sqs_million"] / 1e6,
        "buckets: PUT, LIST": share * seen.puts_and_lists * prices["put_thousand"] / 1e3,
        "buckets: GET, HEAD": share * seen.gets_and_heads * prices["get_thousand"] / 1e3,
        "logs": share * seen.log_bytes * prices["log_gb"] / 1e9,
    }


def table(columns: dict[str, dict[str, float]]) -> str:
    """Dollars, as Markdown."""
    items = next(iter(columns.values()))
    return "\n".join(
        [
            f"| US dollars for an hour of sound | {' | '.join(columns)} |",
            f"|---|{'---|' * len(columns)}",
            *(f"| {item} | {' | '.join(f'{each[item]:.5f}' for each in columns.values())} |" for item in items),
            f"| **all of it** | {' | '.join(f'**{sum(each.values()):.4f}**' for each in columns.values())} |",
            f"| a thousand hours | {' | '.join(f'{1000 * sum(each.values()):.2f}' for each in columns.values())} |",
        ]
    )


if __name__ == "__main__":
    main()
