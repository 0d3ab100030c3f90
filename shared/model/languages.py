"""The languages that Whisper knows, to refuse a wrong one before a model is loaded."""

from collections.abc import Iterable

from nightscribe.shared.errors import ValueRefused

# Source: openai/whisper tokenizer.py, LANGUAGES (a test compares the two).
LANGUAGES = {
    "en": "english",
    "zh": "chinese",
    "de": "german",
    "es": "spanish",
    "ru": "russian",
    "ko": "korean",
    "fr": "french",
    "ja": "japanese",
    "pt": "portuguese",
    "tr": "turkish",
    "pl": "polish",
    "ca": "catalan",
    "nl": "dutch",
    "ar": "arabic",
    "sv": "swedish",
    "it": "italian",
    "id": "indonesian",
    "hi": "hindi",
    "fi": "finnish",
    "vi": "vietnamese",
    "he": "hebrew",
    "uk": "ukrainian",
    "el": "greek",
    "ms": "malay",
    "cs": "czech",
    "ro": "romanian",
    "da": "danish",
    "hu": "hungarian",
    "ta": "tamil",
    "no": "norwegian",
    "th": "thai",
    "ur": "urdu",
    "hr": "croatian",
    "bg": "bulgarian",
    "lt": "lithuanian",
    "la": "latin",
    "mi": "maori",
    "ml": "malayalam",
    "cy": "welsh",
    "sk": "slovak",
    "te": "telugu",
    "fa": "persian",
    "lv": "latvian",
    "bn": "bengali",
    "sr": "serbian",
    "az": "azerbaijani",
    "sl": "slovenian",
    "kn": "kannada",
    "et": "estonian",
    "mk": "macedonian",
    "br": "breton",
    "eu": "basque",
    "is": "icelandic",
    "hy": "armenian",
    "ne": "nepali",
    "mn": "mongolian",
    "bs": "bosnian",
    "kk": "kazakh",
    "sq": "albanian",
    "sw": "swahili",
    "gl": "galician",
    "mr": "marathi",
    "pa": "punjabi",
    "si": "sinhala",
    "km": "khmer",
    "sn": "shona",
    "yo": "yoruba",
    "so": "somali",
    "af": "afrikaans",
    "oc": "occitan",
    "ka": "georgian",
    "be": "belarusian",
    "tg": "tajik",
    "sd": "sindhi",
    "gu": "gujarati",
    "am": "amharic",
    "yi": "yiddish",
    "lo": "lao",
    "uz": "uzbek",
    "fo": "faroese",
    "ht": "haitian creole",
    "ps": "pashto",
    "tk": "turkmen",
    "nn": "nynorsk",
    "mt": "maltese",
    "sa": "sanskrit",
    "lb": "luxembourgish",
    "my": "myanmar",
    "bo": "tibetan",
    "tl": "tagalog",
    "mg": "malagasy",
    "as": "assamese",
    "tt": "tatar",
    "haw": "hawaiian",
    "ln": "lingala",
    "ha": "hausa",
    "ba": "bashkir",
    "jw": "javanese",
    "su": "sundanese",
    "yue": "cantonese",
}


def language_code(language: str) -> str:
    """Return the code of a language given by code or English name ("en", "English"), or "auto".

    Raises: ValueRefused: if Whisper does not know it.
    """
    wanted = language.strip().lower()
    if wanted == "auto":
        return wanted
    if (code := wanted.replace("_", "-").partition("-")[0]) in LANGUAGES:  # en-GB: Whisper knows only en
        return code
    for code, name in LANGUAGES.items():
        if name == wanted:
            return code
    raise ValueRefused(
        f"Unknown language {language!r}. Give a code such as en, fr or vi, an English name such as Vietnamese, "
        f"or auto. Whisper knows: {', '.join(sorted(LANGUAGES))}."
    )


def language_codes(languages: Iterable[str]) -> tuple[str, ...]:
    """Return the codes of several languages, each once, in alphabetical order.

    Raises: ValueRefused: if Whisper does not know one of them, or one is "auto".
    """
    codes = {language_code(language) for language in languages}
    if "auto" in codes:
        raise ValueRefused("Give the codes of languages to choose from, such as es,ca, without auto.")
    return tuple(sorted(codes))
