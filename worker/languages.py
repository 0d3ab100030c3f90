"""Weigh the probabilities of languages by what is known besides the sound of one recording. Pure."""

from collections.abc import Collection, Mapping

CLEAR_LANGUAGE = 0.8  # a recording whose language has at least this probability needs no help, and helps others


def likeliest(probabilities: Mapping[str, float]) -> str:
    """Return the language with the highest probability."""
    return max(probabilities, key=lambda language: probabilities[language])


def among(probabilities: Mapping[str, float], languages: Collection[str]) -> dict[str, float]:
    """Return the probabilities if one of these languages is certainly spoken; no languages mean any."""
    if not languages:
        return dict(probabilities)
    some = {language: probabilities.get(language, 0.0) for language in languages}
    total = sum(some.values())
    return {language: p / total if total else 1 / len(some) for language, p in some.items()}


def with_prior(probabilities: Mapping[str, float], folder: Mapping[str, int]) -> dict[str, float]:
    """Return the probabilities for a recording of a folder in which so many others are certainly in each language.

    Every language counts as if half a recording more were in it (Krichevsky and Trofimov's estimator). So the first
    other recording makes its language three times likelier, and ten make it 21 times likelier.
    """
    weighted = {language: p * (2 * folder.get(language, 0) + 1) for language, p in probabilities.items()}
    total = sum(weighted.values())
    return {language: p / total for language, p in weighted.items()} if total else dict(probabilities)
