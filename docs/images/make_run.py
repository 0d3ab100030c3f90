"""Make the picture of a run in README: `python docs/images/make_run.py RECORDINGS` transcribes them and draws the view.

With `--frames DIR` it also draws the view at 60, 80 and 120 columns, light and dark, to be looked at.
"""

import argparse
import io
import os
import re
import tempfile
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI, TerminalTheme
from rich.text import Text

from nightscribe.services.events import Event, Started, Working
from nightscribe.services.request import Request
from nightscribe.services.run import run
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.views.humanize import count
from nightscribe.views.progress import render
from nightscribe.views.summary import summary
from nightscribe.worker.lease import lease_clock

WIDTH = 88
COMMAND = "$ ./build.sh run recordings transcripts"
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": DIMMED_MONOKAI}


def picture(parts: list[RenderableType], width: int, theme: TerminalTheme) -> str:
    """Return an SVG of what a terminal of this width shows; it loads nothing from elsewhere."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for part in parts:
        console.print(part)
    drawn = console.export_svg(title="nightscribe", theme=theme)
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


def main() -> None:
    """Transcribe, and draw the view in the middle of the work and the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--frames", type=Path)
    arguments = parser.parse_args()
    target = Path(__file__).with_name("run.svg")
    frames = arguments.frames.absolute() if arguments.frames else None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "recordings").symlink_to(arguments.recordings.absolute())
        os.chdir(folder)
        settings = load_settings(model=arguments.model)
        request = Request(FolderLocation(Path("recordings")), FolderLocation(Path("transcripts")), settings)
        views: dict[int, tuple[float, list[Text]]] = {}
        heading = ""

        def on_event(event: Event) -> None:
            nonlocal heading
            if isinstance(event, Started):
                workers = f"faster-whisper, {count(event.n_workers, 'worker')}"
                heading = f"nightscribe: {settings.model} on {workers}, {request.source} → {request.dest}"
            if not isinstance(event, Working) or not event.progress.total_s:
                return
            away = abs(event.progress.heard_s / event.progress.total_s - 0.5)
            for width in (60, 80, WIDTH, 120):
                if width not in views or away < views[width][0]:
                    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
                    console.print(render(event.progress, heading, lease_clock()))
                    assert isinstance(console.file, io.StringIO)
                    views[width] = away, [Text.from_ansi(line) for line in console.file.getvalue().splitlines()]

        result = run(request, on_event)
        said = summary(
            result.progress, elapsed_s=result.elapsed_s, dest=request.dest, formats=settings.formats, interrupted=False
        )
        end = [Text(line) for line in said]
        whole = [Text(COMMAND, style="bold"), *views[WIDTH][1], Text(""), Text("…", style="dim"), Text(""), *end]
        target.write_text(picture(whole, WIDTH, DIMMED_MONOKAI))
        for width in (60, 80, 120) if frames else ():
            for name, theme in THEMES.items():
                assert frames
                shown = [*views[width][1], *end]
                (frames / f"{width}-{name}.svg").write_text(picture(shown, width, theme))


if __name__ == "__main__":
    main()
