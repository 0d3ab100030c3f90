"""Show how right the texts of a table are."""

from nightscribe.services.score import Errors, Score
from nightscribe.terminal import visible
from nightscribe.views.humanize import count


def score_lines(found: Score) -> list[str]:
    """Return the lines of a table of languages, and the worst rows with both texts."""
    lines = [visible(f"{found.table}, compared with the column {found.text_column!r}"), ""]
    lines.append(f"{'language':<10}{'rows':>8}{'words':>10}{'word errors':>13}{'character errors':>18}")
    lines += [_line(each.language, each) for each in found.languages]
    if len(found.languages) != 1:
        lines.append(_line("all", found.total))
    if found.n_without_truth:
        lines.append(f"Left out: {count(found.n_without_truth, 'row')} without what was truly said.")
    if found.n_without_text:
        are = "is" if found.n_without_text == 1 else "are"
        lines.append(f"Left out: {count(found.n_without_text, 'row')} that {are} not transcribed.")
    if found.worst:
        lines += ["", "Worst rows:"]
    for each in found.worst:
        lines.append(visible(f"  row {each.number}, {100 * each.word_error_rate:.0f} %: {each.recording}"))
        lines.append(visible(f"    said   {each.truth}"))
        lines.append(visible(f"    heard  {each.text or '(nothing)'}"))
    return lines


def _line(name: str, each: Errors) -> str:
    rates = f"{100 * each.word_error_rate:>11.1f} %{100 * each.character_error_rate:>16.1f} %"
    return f"{name:<10}{each.n_rows:>8,}{each.n_words:>10,}{rates}"
