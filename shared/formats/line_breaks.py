"""Find where a line of text may be broken, and what a break costs the reader.

The rules are those of subtitlers: break at the end of a sentence, else after a clause, else before a word that begins a
phrase, but never between such a word and the rest of its phrase.
"""

import unicodedata
from collections.abc import Iterator

from nightscribe.shared.formats.sentences import CLOSING, MARKS, OPENERS, OPENING, TITLES, ends_sentence

# Costs of a break, from the best to the worst place.
SENTENCE, BORDER, CLAUSE, PHRASE, WORD, HELD, TORN, CHOPPED = 0.0, 1.0, 2.5, 5.0, 6.0, 9.0, 20.0, 30.0

_CLAUSE_MARKS = frozenset(",;:–—-،؛、，；：")
_DASHES = frozenset("–—-")
_NEVER_FIRST = frozenset("ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々〻ะาำๅๆฯ")
_NEVER_LAST = frozenset("เแโใไ")

# These words begin a phrase and belong to what follows.
_LEADING_WORDS = """
    a an the this that these those my your his her its our their some every each and or but nor because although though
    while when where whether if unless until since as than which who whom whose what how why in on at to of by for from
    with into onto over under about after before between through without within against during toward towards upon among
    across behind
    der die das den dem des ein eine einen einem einer eines kein keine keinen dieser diese dieses diesen diesem mein
    meine sein seine ihr ihre unser unsere und oder aber denn weil dass wenn als ob obwohl damit während sondern mit für
    von vom zu zum zur bei beim nach aus auf an am im ins über unter vor hinter zwischen durch gegen ohne um seit
    le la les un une des du de et ou mais que qui dont où quand parce dans avec pour sans sur sous par chez entre cette
    ces mon ton son leur leurs notre votre
    el los las una unos y o pero porque cuando donde como con para por sin sobre desde hasta entre esta este estos
    il lo gli della delle degli nella che perché quando dove con per tra ma
    và rồi nhưng nên vì mà thì là của trong ngoài trên dưới với cho từ đến để khi nếu ở bên một những các cùng
    в на и с к о у а но что как не из за по от для или под над при без это чтобы если когда
"""
# These words should stay with what follows, but do not invite a break before them. Words of up to three letters are
# treated alike, also in languages that are not listed.
_HOLDING_WORDS = """
    were have been will would could should might must shall does don't can't won't it's that's i'm you're we're they're
    very more most both such they wird werden wurde haben hatte sind nicht kann muss sehr mehr être sont avait
    está están
"""
_SHORT_FORMS = "sr sra nr bzw ca vs jr mme mlle"  # besides titles; with or without a full stop

_CAPITAL_NOUNS = frozenset({"de", "lb"})
_PRONOUNS = frozenset({"i", "i'm", "i'll", "i've", "i'd"})

_LEADING = frozenset(_LEADING_WORDS.split())
_HOLDING = frozenset(_HOLDING_WORDS.split())
_ABBREVIATED = TITLES.union(_SHORT_FORMS.split())


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and lone surrogates, because a blank line would end a cue."""
    if text.isprintable():  # most text needs no change, and checking each character is slow
        return " ".join(text.split())
    # Keep joiners and direction marks, which some scripts need, but not a byte order mark.
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} or c == "\ufeff" else c for c in text)
    return " ".join(plain.split())


def width(text: str) -> int:
    """Return the width of a text in columns: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else unicodedata.category(c) not in {"Mn", "Me", "Cf"}
        for c in text
    )


def pieces(line: str, most: int) -> Iterator[tuple[str, bool]]:
    """Yield the unbreakable pieces of a line, none wider than `most`, and whether a space precedes each."""
    for token in _glued(line.split(), most):
        spaced = True
        for piece in _between(token):
            for chopped in _chopped(piece, most):
                yield chopped, spaced
                spaced = False


def _glued(tokens: list[str], most: int) -> Iterator[str]:
    """Join punctuation that stands alone, as in `« Bonjour ! »` or `here – and there`, to the word it belongs to."""
    held = ""
    for token in tokens:
        joined = f"{held} {token}"
        if held and width(joined) <= most and (_closes(token, held) or _opens(held)):
            held = joined
            continue
        if held:
            yield held
        held = token
    if held:
        yield held


def _closes(token: str, held: str) -> bool:
    """Return whether a token is only punctuation that belongs to the word before it."""
    begins_speech = token in _DASHES and held[-1] in MARKS
    return all(unicodedata.category(c)[0] == "P" for c in token) and token[0] not in OPENERS and not begins_speech


def _opens(held: str) -> bool:
    """Return whether a token is, or ends with, punctuation that belongs to the word after it."""
    return held in _DASHES or all(c in OPENERS for c in held.rpartition(" ")[2])


def _between(token: str) -> Iterator[str]:
    """Divide a token where scripts without spaces, and dashes without spaces, allow a break."""
    begin = 0
    for at in range(1, len(token)):
        if breakable(token[at - 1], token[at]) and any(c.isalnum() for c in token[begin:at]):
            yield token[begin:at]
            begin = at
    yield token[begin:]


def breakable(before: str, after: str) -> bool:
    """Return whether a line may end between two characters that no space separates."""
    if before in "—–" and after.isalpha():
        return True
    if not (_spaceless(before) or _spaceless(after) or (_is_wide(before) and unicodedata.category(before) == "Po")):
        return False
    first, last = unicodedata.category(after), unicodedata.category(before)
    return not (
        first[0] in "MZ"
        or first in {"Pe", "Pf", "Po", "Lm", "Cf"}
        or after in _NEVER_FIRST
        or last[0] in "ZN"
        or last in {"Ps", "Pi", "Cf"}
        or before in _NEVER_LAST
    )


def _spaceless(char: str) -> bool:
    """Return whether a character's script writes words without spaces. Korean is wide too, but uses spaces."""
    if char < "\u0e00" or unicodedata.category(char) != "Lo":
        return False
    south_east_asian = char <= "\u0eff" or "\u1000" <= char <= "\u109f" or "\u1780" <= char <= "\u17ff"
    return south_east_asian or (_is_wide(char) and not "\uac00" <= char <= "\ud7a3")


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def _chopped(piece: str, most: int) -> Iterator[str]:
    """Cut a piece that is wider than a line into as many as needed."""
    begin = taken = 0
    if width(piece) > most:
        for at, char in enumerate(piece):
            if taken + width(char) > most:
                yield piece[begin:at]
                begin, taken = at, 0
            taken += width(char)
    yield piece[begin:]


def break_cost(before: str, after: str, *, spaced: bool, language: str | None = None) -> float:
    """Return what a break between two pieces costs the reader, from `SENTENCE` to `CHOPPED`."""
    if ends_sentence(before, after, language):
        return SENTENCE
    if before.endswith(".") and not before.endswith(".."):  # an abbreviation
        return HELD if after[0].islower() else TORN
    if (before.rstrip(CLOSING) or before)[-1] in _CLAUSE_MARKS:
        return CLAUSE
    return _within_clause(before, after, spaced=spaced, language=language)


def _within_clause(before: str, after: str, *, spaced: bool, language: str | None) -> float:
    if not spaced:
        whole = PHRASE if after[0] in OPENERS else WORD
        return whole if breakable(before[-1], after[0]) else CHOPPED
    last, first = _bare(before.rpartition(" ")[2]), _bare(after.partition(" ")[0])
    if last in _LEADING or last.rstrip(".") in _ABBREVIATED:
        return TORN
    if held := _figure_or_name(before.rpartition(" ")[2], after.partition(" ")[0], language):
        return held
    begins_phrase = first in _LEADING or after[0] in OPENERS
    if last in _HOLDING or (len(last) <= 3 and max(last, default="") < "\u0530"):
        return WORD if begins_phrase else HELD
    return PHRASE if begins_phrase else WORD


def _figure_or_name(last: str, first: str, language: str | None) -> float | None:
    """Return what it costs to tear a number from what it counts, or two names apart; None if they are neither."""
    if last[-1].isdigit():
        return TORN if first[0].isdigit() else HELD if first[0].isalpha() and _bare(first) not in _LEADING else None
    if language in _CAPITAL_NOUNS or not (last[0].isupper() and first[0].isupper()):
        return None
    return HELD if last.isalpha() and _bare(last) not in _PRONOUNS and _bare(first) not in _PRONOUNS else None


def _bare(word: str) -> str:
    return word.strip(OPENING + CLOSING).replace("’", "'").casefold()
