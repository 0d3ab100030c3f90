"""Render the report as one HTML file that loads and runs nothing, whatever the names of the recordings contain."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import tzinfo
from heapq import nsmallest
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from typing import Protocol, TypeVar
from urllib.parse import quote

from nightscribe.report.plot import plot
from nightscribe.report.report import Done, Failed, Report, Suspicious
from nightscribe.shared.destination.keys import REPORT, REPORT_PAGE
from nightscribe.shared.model.flag_meanings import MEANINGS
from nightscribe.shared.model.languages import LANGUAGES
from nightscribe.shared.model.transcript import Flag
from nightscribe.shared.settings import Settings
from nightscribe.terminal import visible
from nightscribe.views.humanize import count, duration, failure_group, group_sentence

MARK = '<meta name="generator" content="nightscribe report">'
"""What distinguishes the page from other files of its name."""
SHOWN = 300  # rows of a list; browsers cannot open a page with a million failures
LISTED = 1_000  # rows of the recordings that are done
GROUPS = 30  # groups of rows
REPORT_NAME = REPORT.rpartition("/")[2]
PLAYS_RECORDING = ".html"  # suffix of texts that play the recording if they know where it is

KEPT = "Those with a transcript keep it: only <code>--redo</code> transcribes them again, with all finished ones."

_Item = TypeVar("_Item", Failed, Suspicious)
_Key = TypeVar("_Key", bound=Hashable)


class Links(Protocol):
    """Where the page leads; as a file to other files, and on a server to its pages."""

    json: str
    """Link to the report for programs."""

    def recording(self, path: str) -> str | None:
        """Return a link to a recording; None if none can reach it."""
        ...

    def listen(self, of: Done | Suspicious) -> str:
        """Return HTML that leads to the sound of a recording, or nothing."""
        ...

    def text(self, of: Done | Suspicious) -> str:
        """Return a link to a transcript."""
        ...


def page(report: Report, zone: tzinfo | None = None, links: Links | None = None) -> str:
    """Return the HTML, with times shown in the given time zone; None means this machine's.

    `links`: by default, those of a file at `REPORT_PAGE`.
    """
    links = links or FileLinks(report, REPORT_PAGE)
    template = Template(files("nightscribe.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=_text(f"nightscribe: {_headline(report)}"),
        state="bad" if report.stopped else "some" if report.totals.failed or report.totals.left else "good",
        headline=_text(_headline(report)),
        when=_when(report, zone),
        folders=f"<bdi>{_text(report.source)}</bdi> → <bdi>{_text(report.dest)}</bdi>",
        stopped=f'<p class="stopped">It could not continue: {_text(report.stopped)}</p>' if report.stopped else "",
        tiles="".join(_tiles(report)),
        left=_left(report),
        timeline=_timeline(report, zone),
        failures="".join(_failures(report, zone, links)),
        suspicious="".join(_suspicious(report, links)),
        recordings="".join(_recordings(report, links)),
        details="".join(_details(report)),
        json=links.json,
    )


def _headline(report: Report) -> str:
    totals = report.totals
    if report.interrupted or report.stopped:
        how = "Stopped" if report.stopped else "Interrupted"
        return f"{how} with {totals.done:,} of {count(totals.recordings, 'recording')} done"
    if totals.failed:
        return f"{count(totals.done, 'recording')} done, {totals.failed:,} failed"
    return f"All done: {count(totals.done, 'recording')}"


def _when(report: Report, zone: tzinfo | None) -> str:
    began, ended = report.began_at.astimezone(zone), report.ended_at.astimezone(zone)
    until = f"{ended:%H:%M}" if ended.date() == began.date() else f"{ended:%A} {ended:%H:%M}"
    offset, name = f"{ended:%z}", ended.tzname() or ""
    known = f"{name}, " if name.isalpha() and name != "UTC" else ""  # some zones are named +07
    day = f"{began:%A} {began.day} {began:%B %Y}"
    return _text(f"{day}, {began:%H:%M} to {until} ({known}UTC{offset[:3]}:{offset[3:5]})")


def _tiles(report: Report) -> Iterator[str]:
    totals = report.totals
    yield _tile("done", f"{totals.done:,}")
    if totals.failed:
        yield _tile("failed", f"{totals.failed:,}", "#failed")
    if totals.left:
        yield _tile("left", f"{totals.left:,}")
    if report.suspicious:
        yield _tile("worth a look", f"{len(report.suspicious):,}", "#suspicious")
    hours = totals.audio_s / 3600
    yield _tile("of sound", duration(totals.audio_s) if hours < 1000 else f"{hours:,.0f} h")
    yield _tile("start to end", duration(report.elapsed_s))
    yield _tile("real time", f"{totals.speed:.1f} ×")


def _tile(label: str, value: str, link: str = "") -> str:
    inside = f"<strong>{value}</strong> {label}"
    return f'<li><a href="{link}">{inside}</a></li>' if link else f"<li>{inside}</li>"


def _timeline(report: Report, zone: tzinfo | None) -> str:
    if not report.time_line.lanes:
        return ""
    return (
        "<section><h2>Time line</h2>"
        + plot(report.time_line, zone, report.totals.speed)
        + '<p class="legend"><i class="busy"></i> at work <i class="idle"></i> waiting or loading a model '
        + "<b>✕</b> died and was restarted</p></section>"
    )


def _left(report: Report) -> str:
    if not report.totals.left:
        return ""
    left = count(report.totals.left, "recording")
    how = f"{KEPT} This command transcribes the others:" if report.redo else "The same command continues with them:"
    return f"<p>{left} left. {how}</p><pre>{_text(report.run_command)}</pre>"


def _failures(report: Report, zone: tzinfo | None, links: Links) -> Iterator[str]:
    if not report.failures:
        return
    yield f'<section id="failed"><h2>Failed <small>{len(report.failures):,}</small></h2>'
    if report.redo:
        yield f"<p>{KEPT} For the others:</p>"
    if report.retry_command:
        choose = "<code>--name</code> and <code>--reason</code> select some"
        yield f"<p>When the cause is fixed, retry them ({choose}):</p>"
        yield f"<pre>{_text(report.retry_command)}<br>{_text(report.run_command)}</pre>"
    else:
        yield f"<p>The next run tries them again:</p><pre>{_text(report.run_command)}</pre>"
    headings = _headings(report.failures)

    def row(failed: Failed) -> str:
        said = "" if headings[_group(failed)] == failed.reason else f"<small>{_text(failed.reason)}</small>"
        tries = "" if failed.attempts is None else f"{failed.attempts} ×" if failed.attempts > 1 else ""
        when = f"{failed.failed_at.astimezone(zone):%a %H:%M}" if failed.failed_at else ""
        earlier = f'<mark title="{when}">earlier run</mark>' if failed.earlier else when
        name = f"<bdi>{_text(failed.recording)}</bdi>"
        if link := links.recording(failed.recording):
            name = f'<a href="{link}">{name}</a>'
        return f"<tr><td>{name} {said}</td><td>{tries}</td><td>{earlier}</td></tr>"

    yield from _grouped(
        report.failures, _group, row, lambda group: _text(headings[group]), lambda _, n: -n, links=links
    )
    yield "</section>"


def _suspicious(report: Report, links: Links) -> Iterator[str]:
    if not report.suspicious:
        return
    yield f'<section id="suspicious"><h2>Worth a look <small>{len(report.suspicious):,}</small></h2>'

    def row(suspicious: Suspicious) -> str:
        return (
            f'<tr><td><a href="{links.text(suspicious)}"><bdi>{_text(suspicious.recording)}</bdi></a>'
            f"{_doubt(suspicious)}</td><td>{links.listen(suspicious)}</td></tr>"
        )

    yield from _grouped(
        report.suspicious,
        lambda each: each.flags,
        row,
        _flags,
        lambda flags, _: min(map(list(MEANINGS).index, flags)),
        links=links,
    )
    yield "</section>"


def _recordings(report: Report, links: Links) -> Iterator[str]:
    """Yield what was done, folder by folder."""
    if not report.recordings:
        return
    yield f'<section id="done"><h2>Transcripts <small>{report.totals.done:,}</small></h2>'
    shown = report.recordings[:LISTED]
    for folder, group in groupby(shown, key=lambda each: each.recording.rpartition("/")[0]):
        if folder:
            yield f"<h3><bdi>{_text(folder)}</bdi></h3>"
        yield f'<table class="done">{"".join(_done(each, links) for each in group)}</table>'
    yield _more(report.totals.done - len(shown), "more", links)
    yield "</section>"


def _done(done: Done, links: Links) -> str:
    flags = f"<small><mark>{_text(', '.join(done.flags))}</mark></small>" if done.flags else ""
    name = _text(done.recording.rpartition("/")[2])
    language = LANGUAGES.get(done.language or "", done.language or "").title()
    return (
        f'<tr><td><a href="{links.text(done)}"><bdi>{name}</bdi></a>{flags}</td><td>{_text(language)}</td>'
        f"<td>{duration(done.length_s)}</td><td>{links.listen(done)}</td></tr>"
    )


def _doubt(suspicious: Suspicious) -> str:
    if Flag.LOW_CONFIDENCE not in suspicious.flags or suspicious.confidence is None:
        return ""
    return f"<small>about {100 * suspicious.confidence:.0f} % of the doubtful words right</small>"


def _flags(flags: tuple[Flag, ...]) -> str:
    """Return the flags of a transcript and their meanings as a heading."""
    meaning = "; ".join(MEANINGS[flag] for flag in flags)
    return f'{_text(", ".join(flags).capitalize())} <span class="meaning">{_text(meaning)}</span>'


def _group(failed: Failed) -> str:
    return failure_group(failed.code, failed.reason)


def _headings(failures: Sequence[Failed]) -> dict[str, str]:
    """Return one sentence for each group of failures."""
    alike: dict[str, list[Failed]] = defaultdict(list)
    for failed in failures:
        alike[_group(failed)].append(failed)
    return {key: group_sentence(each[0].code, {failed.reason for failed in each}) for key, each in alike.items()}


def _grouped(
    items: Sequence[_Item],
    key: Callable[[_Item], _Key],
    row: Callable[[_Item], str],
    heading: Callable[[_Key], str],
    order: Callable[[_Key, int], int],
    *,
    links: Links,
) -> Iterator[str]:
    """Yield one table for each group, and the number of rows that the page leaves out.

    Args: order: returns the sort key of a group with that many items.
    """
    groups: dict[_Key, list[_Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    first = nsmallest(GROUPS, groups, key=lambda each: order(each, len(groups[each])))
    for each in first:
        group = groups[each]
        shown = nsmallest(SHOWN // len(first), group, key=lambda item: item.recording)
        rows = "".join(map(row, shown))
        yield f"<h3>{heading(each)} <small>{len(group):,}</small></h3><table>{rows}</table>"
        yield _more(len(group) - len(shown), "more", links)
    yield _more(len(items) - sum(len(groups[each]) for each in first), "of other kinds", links)


def _more(n: int, what: str, links: Links) -> str:
    if n <= 0:
        return ""
    return f'<p class="more">… and {n:,} {what}, in <a href="{links.json}">{REPORT_NAME}</a></p>'


def _details(report: Report) -> Iterator[str]:
    yield _detail("Model", f"{report.model} on {report.engine}, {count(len(report.time_line.lanes), 'worker')}")
    for name, value in report.options.items():
        if name not in ("model", "engine") and (name == "formats" or value != _default(name)):
            said = ", ".join(value) if isinstance(value, tuple) else "yes" if value is True else str(value)
            yield _detail(name.replace("_", " ").capitalize(), said)
    if report.languages:
        spoken = (f"{LANGUAGES.get(code, code).title()} {n:,}" for code, n in report.languages.items())
        yield _detail("Languages", " · ".join(spoken))
    for note in report.notes:
        name, _, said = note.partition(": ")
        yield _detail(name if said else "", said or note)


def _default(name: str) -> object:
    return Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _detail(name: str, said: str) -> str:
    return f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>"


class FileLinks:
    """Links from the page in a destination to recordings and texts."""

    def __init__(self, report: Report, page_key: str) -> None:
        """`page_key`: where the page is in the destination."""
        folder = page_key.rpartition("/")[0]
        self._dest = "../" if folder else ""
        self.json = _link(os.path.relpath(REPORT, folder or "."))
        self._source = _source(report)

    def recording(self, path: str) -> str | None:
        """Return a link to a recording; None if none can reach it."""
        return None if self._source is None else _link(f"{self._dest}{self._source}/{path}")

    def listen(self, of: Done | Suspicious) -> str:
        """Return a link to listen to a recording, or nothing."""
        link = self.recording(of.recording)
        return f'<a class="quiet" href="{link}">listen</a>' if link else ""

    def text(self, of: Done | Suspicious) -> str:
        """Return a link to a text. A page that plays the recording is told where it is."""
        link = f"{self._dest}{of.text}"
        if self._source is None or not of.text.endswith(PLAYS_RECORDING):
            return _link(link)
        recording = f"{'../' * of.text.count('/')}{self._source}/{of.recording}"
        return f"{_link(link)}?recording={quote(_link(recording), safe='')}"


def _source(report: Report) -> str | None:
    """Return the path of the recordings relative to the destination; None if no link can reach them."""
    source, dest = report.source.partition("://"), report.dest.partition("://")
    if source[1] != dest[1] or (source[1] and source[2].partition("/")[0] != dest[2].partition("/")[0]):
        return None  # one is a folder and the other a bucket, or they are two buckets
    # Recordings copied from the bucket together with the page, as by `aws s3 sync`, keep their relative place.
    return os.path.relpath(f"/{source[2] or source[0]}", f"/{dest[2] or dest[0]}")


def _text(said: str) -> str:
    """Escape text for HTML, and make invisible characters of names visible."""
    return escape(visible(said))


def _link(path: str) -> str:
    """Quote a path for a link; `%`, `#` and `?` are ordinary characters of a name."""
    return quote(os.fsencode(path))
