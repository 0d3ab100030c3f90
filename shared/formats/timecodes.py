"""Format times as the file formats require."""


def timecode(ms: int, point: str) -> str:
    """Return `HH:MM:SS` + `point` + milliseconds; hours may have more than two digits."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def centiseconds(ms: int) -> int:
    """Return the nearest hundredth of a second; rounding is monotonic, so times keep their order."""
    return (ms + 5) // 10
