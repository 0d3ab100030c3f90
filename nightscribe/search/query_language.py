"""Read what a person types into a search box. Pure, and nothing that can be typed is an error.

`a b` both words, `"a b"` a phrase, `a OR b` one of them, `a -b` or `a NOT b` the first without the second, `a*` words
that begin so, `a NEAR b`, `a NEAR/5 b` or `NEAR(a b, 5)` close together, and parentheses. An operator without operands
is a word, and a quotation mark or a parenthesis without its partner is ignored.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nightscribe.search.folding import tokens

MAX_TERMS = 64
NEAR_TOKENS = 10
"""Number of tokens that may lie between two words that are near each other, unless the user gives a number."""


@dataclass(frozen=True)
class Term:
    """Tokens that follow each other, such as a word or a phrase."""

    tokens: tuple[str, ...]
    is_prefix: bool = False
    """Whether the last token may go on."""
    text: str = ""
    """What was typed."""
    is_word: bool = False
    """Whether it is a single word, whose spelling can be checked."""


@dataclass(frozen=True)
class All:
    """All parts, and none of the excluded ones."""

    parts: tuple["Node", ...]
    without: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Either:
    """At least one of the parts."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Near:
    """Terms with at most `distance` tokens between them."""

    terms: tuple[Term, ...]
    distance: int


Node = Term | All | Either | Near

_QUOTES = '"\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02\u300c\u300d'
_LEXEME = re.compile(
    rf"""
    [{_QUOTES}](?P<phrase>[^{_QUOTES}]*)[{_QUOTES}](?P<starred>\*?)
    | (?P<call>NEAR\s*\((?P<inside>[^()]*)\))
    | NEAR/(?P<distance>\d{{1,4}})(?!\S)
    | (?P<operator>AND|OR|NOT|NEAR)(?![^\s()])
    | (?P<bracket>[()])
    | (?P<minus>-)(?=[^\s\-]) | (?P<word>[^\s{_QUOTES}()]+)
    | [{_QUOTES}]
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Lexeme:
    kind: str
    """`term`, `near`, or the operator itself."""
    text: str
    node: Node | None = None
    distance: int = NEAR_TOKENS


def parse(text: str) -> Node | None:
    """Return what a query means, or None if it holds nothing that can be searched for."""
    lexemes = list(_lexemes(text))[: 4 * MAX_TERMS]
    return _Parser(lexemes).parse()


def terms(node: Node | None) -> list[Term]:
    """Return the terms that a hit may contain, which are marked in it."""
    match node:
        case Term():
            return [node]
        case Near():
            return list(node.terms)
        case All() | Either():
            return [term for part in node.parts for term in terms(part)]
        case None:
            return []


def phrase(node: Node | None) -> Term | None:
    """Return the words of a query as one phrase if it is nothing but words, else None."""
    if isinstance(node, All) and not node.without:
        words = [part for part in node.parts if isinstance(part, Term) and not part.is_prefix]
        if len(words) == len(node.parts):
            return Term(tuple(token for word in words for token in word.tokens))
    return None


def _term(text: str, *, is_word: bool) -> Term | None:
    stripped = text.rstrip("*")
    found = list(tokens(stripped))
    if not found:
        return None
    is_prefix = len(stripped) < len(text)
    if found[-1].is_unspaced:
        if len(found) > 1 and found[-2].is_unspaced and found[-2].end >= found[-1].end:
            found.pop()  # the single character at the end of a run is the second one of the pair before
        else:
            is_prefix = True  # a single character is the beginning of a pair
    plain = tuple(token.text for token in found)
    single = is_word and len(plain) == 1 and not is_prefix and not found[0].is_unspaced
    return Term(plain, is_prefix, stripped, is_word=single)


def _lexemes(text: str) -> Iterator[_Lexeme]:
    for found in _LEXEME.finditer(text):
        if found["phrase"] is not None:
            if term := _term(found["phrase"] + found["starred"], is_word=False):
                yield _Lexeme("term", found[0], term)
        elif found["call"]:
            if near := _near(found["inside"]):
                yield _Lexeme("term", found[0], near)
        elif found["distance"]:
            yield _Lexeme("NEAR", found[0], distance=int(found["distance"]))
        elif kind := found["operator"] or found["bracket"]:
            yield _Lexeme(kind, found[0])
        elif found["minus"]:
            # "well-known" is one lexeme, so this one stands before a word; after another word it is a dash.
            is_first = found.start() == 0 or text[found.start() - 1] in " \t\n("
            if is_first:
                yield _Lexeme("NOT", found[0])
        elif found["word"] and (term := _term(found["word"], is_word=True)):
            yield _Lexeme("term", found[0], term)


def _near(inside: str) -> Node | None:
    listed, _, number = inside.rpartition(",")
    if number.strip().isdecimal() and listed:
        distance = min(int(number), 9999)
    else:
        listed, distance = inside, NEAR_TOKENS
    found = terms(parse(listed))
    return Near(tuple(found), distance) if len(found) > 1 else (found[0] if found else None)


class _Parser:
    def __init__(self, lexemes: list[_Lexeme]) -> None:
        self._lexemes = lexemes
        self._at = 0
        self._n_terms = 0

    def parse(self) -> Node | None:
        parts = []
        while self._at < len(self._lexemes):
            if (node := self._either()) is not None:
                parts.append(node)
            elif self._at < len(self._lexemes):  # a closing parenthesis without its partner
                self._at += 1
        return _all(parts, [])

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._lexemes[at].kind if at < len(self._lexemes) else ""

    def _either(self) -> Node | None:
        parts = []
        while True:
            if (node := self._all()) is not None:
                parts.append(node)
            if self._peek() != "OR":
                break
            self._at += 1
        return parts[0] if len(parts) == 1 else Either(tuple(parts)) if parts else None

    def _all(self) -> Node | None:
        parts: list[Node] = []
        without: list[Node] = []
        while (kind := self._peek()) not in ("", ")"):
            if kind == "OR" and parts and self._begins_operand(1):
                break
            is_excluded = kind == "NOT" and self._begins_operand(1)
            if is_excluded or (kind == "AND" and (parts or without) and self._begins_operand(1)):
                self._at += 1
            if (node := self._near()) is not None:
                (without if is_excluded else parts).append(node)
        return _all(parts, without)

    def _begins_operand(self, ahead: int) -> bool:
        return self._peek(ahead) in ("term", "(", "NOT")

    def _near(self) -> Node | None:
        node = self._atom()
        while isinstance(node, Term | Near) and self._peek() == "NEAR" and self._peek(1) == "term":
            distance, after = self._lexemes[self._at].distance, self._lexemes[self._at + 1].node
            if not isinstance(after, Term):
                break
            self._at += 2
            before = (node,) if isinstance(node, Term) else node.terms
            node = Near((*before, after), distance)
        return node

    def _atom(self) -> Node | None:
        lexeme = self._lexemes[self._at]
        self._at += 1
        if lexeme.kind == "(":
            node = self._either()
            if self._peek() == ")":
                self._at += 1
            return node
        if lexeme.kind == ")":
            return None
        self._n_terms += 1
        if self._n_terms > MAX_TERMS:
            return None
        return lexeme.node or _term(lexeme.text, is_word=True)  # an operator that connects nothing is a word


def _all(parts: list[Node], without: list[Node]) -> Node | None:
    if not parts:  # nothing can be without something: take it for what is sought
        parts, without = without, []
    if len(parts) == 1 and not without:
        return parts[0]
    return All(tuple(parts), tuple(without)) if parts else None
