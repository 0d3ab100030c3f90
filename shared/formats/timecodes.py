"""Write times as the formats spell them."""


def timecode(ms: int, point: str) -> str:
    """Return `HH:MM:SS` + `point` + milliseconds; hours grow past two digits when they must."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def centiseconds(ms: int) -> int:
    """Return the nearest hundredth of a second; of two times, the later never becomes the earlier."""
    return (ms + 5) // 10
