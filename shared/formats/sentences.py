"""Find the ends of sentences in the same way for segments, cues and lines. Pure.

sentencex (MIT, by the Wikimedia language team) knows the abbreviations of some 300 languages, but expects running
text: it never ends a sentence inside quotation marks, and it misses titles at the beginning of a text. So it gets only
one pair of words at a time, and the abbreviations that it lacks are listed here.
"""

import re
from functools import lru_cache

import sentencex

MARKS = frozenset(".?!…。？！｡؟۔।॥።")
CLOSING = "\"'”’»›)]}」』）】》〉"
OPENERS = "“‘«‹([{„‚「『（【《〈¿¡"
OPENING = "\"'" + OPENERS

# Titles precede a name, so no sentence ends after one in any language.
_TITLE_WORDS = "mr mrs ms messrs dr drs prof st mt rev hon capt col gen lt maj sgt cpl gov sen rep pres"
TITLES = frozenset(_TITLE_WORDS.split())
_ABBREVIATIONS = {
    "en": "vs approx vol fig ch sec pp dept feat",
    "de": "bzw ca vgl inkl ggf evtl hl frl dipl ing str tel abs kap bd nr jh s",
    "fr": "m mm mme mmes mlle mlles me mgr pr ste sts av bd vol chap art fig env ex cf tél",
    "es": "sr sra srta sres sras d dña dra dres lic ing gral cap pbro ud uds vd vds núm nº pág págs av avda cía ej vol",
    "it": "sig sigg dott dr on avv ing arch geom rag mons pag pagg cap num art vol es ecc sen",
    "pt": "sr sra srta srs dra d dona exmo exma profa eng engª arq av pág págs cap núm vol ex",
    "ca": "sr sra srta dra d sta núm pàg av ex",
    "nl": "dhr mevr mw mej drs ir ing ds bijv bv nr blz mgr zgn resp ca",
    "sv": "hr fr dvs kl nr ca sk bl tex resp jfr osv",
    "da": "hr kl nr ca skt bla feks pga mht jf",
    "no": "hr kl nr ca bla feks pga mht jf dvs skt",
    "pl": "np tzn tj tzw św bł ks bp abp o płk ppłk mjr kpt por inż mgr hab lek ul al pl os im nr godz red dyr str zob",
    "cs": "např tzv tj ing mgr bc mudr judr phdr rndr mvdr csc sv gen plk str č ul nám hod cca popř resp p",
    "sk": "napr tzv tj ing mgr bc mudr judr phdr rndr sv gen plk str č ul nám hod cca popr resp p",
    "hu": "id ifj özv pl kb ill stb gróf",
    "fi": "esim mm ns ts ym vrt klo",
    "ro": "dl dna dra prof str nr ing av cca",
    "tr": "doç av bkz örn yrd uzm op müh vb",
    "el": "κ κα κος κκ δρ καθ αρ σελ οδ",
    "ru": "г гг ул пр пер наб просп им проф акад доц св тов гр стр рис см ср напр тыс млн млрд руб коп г-н г-жа ген",
    "uk": "м вул просп ім проф акад доц св тов стор рис див напр тис млн млрд грн п п-н ген полк",
    "bg": "г ул бул им проф акад доц инж св стр вж напр хил млн лв г-н г-жа ген полк",
}
_SAME = {"nn": "no", "nb": "no", "gl": "pt", "be": "ru", "lb": "de", "af": "nl"}
_OF_LANGUAGE = {language: frozenset(words.split()) for language, words in _ABBREVIATIONS.items()}
# sentencex treats these words as abbreviations, for example of American states, although sentences end with them.
_ORDINARY = "ok me may ill al no miss art con de ex un"
_WORDS = frozenset(_ORDINARY.split())
# These languages write "5. Januar" for the fifth of January.
_ORDINALS = "de lb da no nn nb fo is fi et lv cs sk pl sl hr bs sr hu tr eu"
_WITH_ORDINALS = frozenset(_ORDINALS.split())

_DOTTED = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,4}")  # "z.B", "a.m", "f.eks"


@lru_cache(maxsize=4096)
def ends_sentence(before: str, after: str, language: str | None = None) -> bool:
    """Return whether a sentence ends between two consecutive words or stretches of text.

    `language`: language code of the text. None: abbreviations are English, and "5." may be an ordinal.
    """
    stem = before.strip().rstrip(CLOSING)
    following = after.strip().lstrip(OPENING + "—–- ")
    if not stem or stem[-1] not in MARKS or following[:1].islower():
        return False
    if stem[-1] != "." or stem.endswith(".."):
        return True
    return not _is_abbreviation(stem.split()[-1].strip(OPENING + "."), following, language)


def is_continued(before: str, after: str, language: str | None = None) -> bool:
    """Return whether a sentence certainly continues from one text to the next, despite a pause between them."""
    stem, following = before.strip().rstrip(CLOSING), after.strip().lstrip(OPENING)
    if not stem or not following:
        return False
    if stem[-1] in MARKS:
        return not following[0].islower() and not ends_sentence(before, after, language)
    return following[0].islower() or stem[-1] in ",،，、"


def _is_abbreviation(word: str, following: str, language: str | None) -> bool:
    """Return whether the full stop after a word only marks an abbreviation or ordinal."""
    known = _SAME.get(language or "en", language or "en")
    folded = word.casefold()
    if folded in TITLES or folded in _OF_LANGUAGE.get(known, ()):
        return True
    if word.isdecimal():
        return len(word) <= 2 and (language is None or language in _WITH_ORDINALS)
    if known != "en" and (_DOTTED.fullmatch(word) or (len(word) == 1 and word.lower() != word.upper())):
        return True  # in English, a sentence may end with "p.m." or "plan B", which sentencex recognizes
    if folded in _WORDS and not following[:1].isdigit():
        return False
    return len(sentencex.segment(known, f"{word}. {following}")) == 1
