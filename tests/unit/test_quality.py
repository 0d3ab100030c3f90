"""Whether to believe what a model says it heard, and what a person may want to look at."""

import pytest
from making import segment
from whisper.utils import compression_ratio as openai_compression_ratio

from nightscribe.shared.model.transcript import Flag, Segment
from nightscribe.worker.engines.whisper.quality import (
    agreement,
    best,
    is_bad,
    is_doubtful,
    is_foreign,
    is_invented,
    is_repetitive,
)
from nightscribe.worker.engines.whisper.runtime import Decoded
from nightscribe.worker.pipeline.assemble import flags
from nightscribe.worker.pipeline.confidence import model
from nightscribe.worker.repetition import compression_ratio
from nightscribe.worker.retry_delay import retry_delay_s


def sure(length_s: float = 1.0) -> Segment:
    return segment(0, length_s)


def doubtful(length_s: float = 1.0) -> Segment:
    return segment(0, length_s, confidence=model().doubtful_below - 0.1)


def test_good_segments_in_a_certain_language_have_no_flags() -> None:
    assert flags([sure(), sure()], languages={}, language_probability=0.99) == ()


def test_no_segment_is_no_speech_in_no_language() -> None:
    assert flags([], languages={}, language_probability=0.1) == (Flag.NO_SPEECH,)


@pytest.mark.parametrize(("ratio", "flagged"), [(2.4, False), (2.41, True), (30.0, True)])
def test_one_segment_that_packs_too_well_is_repetition(ratio: float, flagged: bool) -> None:
    found = flags([sure(), segment(compression_ratio=ratio)], languages={}, language_probability=None)
    assert (Flag.REPETITION in found) is flagged


@pytest.mark.parametrize(("doubtful_s", "flagged"), [(0.5, False), (1.0, False), (1.1, True), (4.0, True)])
def test_low_confidence_is_more_than_a_quarter_of_the_time_in_doubt(doubtful_s: float, flagged: bool) -> None:
    found = flags([sure(4.0 - doubtful_s), doubtful(doubtful_s)], languages={}, language_probability=None)
    assert (Flag.LOW_CONFIDENCE in found) is flagged


@pytest.mark.parametrize(
    ("texts", "log_probability", "flagged"),
    [
        (["I'm not no I'm not no"], -0.6, True),
        (["I'm not. No.", "I'm not. No."], -0.6, True),
        (["I'm going to be going to be going to be going to be"], -0.6, True),
        (["I'm not no I'm not no"], -0.1, False),
        (["No, no, no.", "I said that I would come, and I said it twice."], -0.6, False),
    ],
)
def test_a_phrase_over_and_over_is_repetition_where_the_model_is_unsure(
    texts: list[str], log_probability: float, flagged: bool
) -> None:
    made = [segment(n, n + 1.0, text, average_log_probability=log_probability) for n, text in enumerate(texts)]
    assert (Flag.REPETITION in flags(made, languages={}, language_probability=None)) is flagged


@pytest.mark.parametrize(("above", "flagged"), [(0.01, False), (-0.01, True), (None, False)])
def test_a_segment_is_in_doubt_below_the_line_that_was_fitted(above: float | None, flagged: bool) -> None:
    confidence = None if above is None else model().doubtful_below + above
    found = flags([segment(confidence=confidence)], languages={}, language_probability=None)
    assert (Flag.LOW_CONFIDENCE in found) is flagged


def test_doubt_counts_by_time_not_by_segments() -> None:
    assert flags([doubtful(0.1)] * 5 + [sure(60)], languages={}, language_probability=None) == ()


def test_segments_without_length_are_not_divided_by() -> None:
    assert flags([doubtful(0.0)], languages={}, language_probability=None) == ()


@pytest.mark.parametrize(("probability", "flagged"), [(0.49, True), (0.5, False), (None, False)])
def test_a_language_is_unsure_only_if_it_was_guessed(probability: float | None, flagged: bool) -> None:
    assert (Flag.LANGUAGE_UNSURE in flags([sure()], languages={}, language_probability=probability)) is flagged


@pytest.mark.parametrize(
    ("languages", "flagged"), [({}, False), ({"en": 3.0}, False), ({"en": 300.0, "de": 3.0}, True)]
)
def test_a_second_language_is_a_change(languages: dict[str, float], flagged: bool) -> None:
    found = flags([sure()], languages=languages, language_probability=0.9)
    assert (Flag.LANGUAGE_CHANGES in found) is flagged


def test_where_nobody_speaks_no_language_is_flagged() -> None:
    assert flags([], languages={"en": 1.0, "de": 1.0}, language_probability=0.1) == (Flag.NO_SPEECH,)


# What was heard in one window

SENTENCE = "It was the best of times, it was the worst of times, it was the age of wisdom."


def heard(
    text: str = SENTENCE, log_probability: float = -0.1, *, n_tokens: int = 20, no_speech: float = 0.0
) -> Decoded:
    return Decoded(tuple(range(n_tokens)), text, log_probability, no_speech)


@pytest.mark.parametrize("text", ["", "a", SENTENCE, "ha " * 200, "Мороз и солнце!", "吾輩は猫である。" * 9])
def test_the_compression_ratio_is_openais(text: str) -> None:
    assert compression_ratio(text) == openai_compression_ratio(text)


def test_what_goes_round_in_circles_is_repetitive() -> None:
    assert not is_repetitive(heard(), 5.0)
    assert is_repetitive(heard("No, no, no. " * 20), 30.0), "the same words"
    assert is_repetitive(heard(n_tokens=200), 2.0), "more than anybody can say in that time"
    assert not is_repetitive(heard(n_tokens=200), 30.0)
    assert not is_repetitive(heard("", n_tokens=0), 0.05)


SAID = {
    "en": "It was the best of times.",
    "fr": "C'était le meilleur des temps, où l'on naïvement rêvait.",
    "de": "Es war die beste der Zeiten, größer als alle übrigen.",
    "pl": "Było to najlepsze ze wszystkich czasów, więc żyliśmy.",
    "vi": "Đó là thời kỳ tốt đẹp nhất, đó là thời kỳ tồi tệ nhất.",
    "tr": "Zamanların en iyisiydi, zamanların en kötüsüydü, ışıklı.",
    "ru": "Это было лучшее из всех времён, это было худшее.",
    "uk": "Це був найкращий з усіх часів, їхній ґанок.",
    "zh": "那是最美好的时代，那是最糟糕的时代。",
    "yue": "嗰個係最好嘅時代，亦係最壞嘅時代。",
    "ja": "それは最高の時代であり、コーヒーの最悪の時代でもあった。",
    "ko": "최고의 시절이었고, 최악의 시절이었다.",
    "ar": "كان أفضل الأزمان، وكان أسوأ الأزمان.",
    "fa": "بهترین روزگار بود، بدترین روزگار بود.",
    "he": "היו אלה הטובים שבזמנים.",
    "el": "Ήταν τα καλύτερα χρόνια, ήταν τα χειρότερα χρόνια.",
    "hi": "यह सबसे अच्छा समय था, यह सबसे बुरा समय था।",
    "th": "มันเป็นช่วงเวลาที่ดีที่สุด",
    "ta": "அது மிகச் சிறந்த காலமாக இருந்தது.",
    "ka": "ეს იყო საუკეთესო დრო.",
    "am": "ከሁሉ የተሻለው ጊዜ ነበር።",
}


@pytest.mark.parametrize("language", SAID)
def test_a_language_is_not_foreign_in_its_own_letters(language: str) -> None:
    assert not is_foreign(SAID[language], language)


@pytest.mark.parametrize(
    ("language", "other"),
    [("en", "ru"), ("en", "zh"), ("vi", "th"), ("ru", "ja"), ("ja", "ko"), ("zh", "ja"), ("hi", "ta"), ("de", "el")],
)
def test_the_letters_of_another_language_are_foreign(language: str, other: str) -> None:
    assert is_foreign(SAID[other], language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Купил iPhone в Media Markt.", "ru"),
        ("The word мир means peace and also world in Russian.", "en"),
        ("1859, 12:30 — 40 %!", "en"),
        ("", "zh"),
        ("Zdravo, kako si?", "sr"),
        ("Здраво, како си?", "sr"),
    ],
)
def test_names_loan_words_and_figures_are_not_foreign(text: str, language: str) -> None:
    assert not is_foreign(text, language)


@pytest.mark.parametrize(
    ("attempt", "doubtful", "bad"),
    [
        (heard(), False, False),
        (heard(log_probability=-0.9), True, False),
        (heard(log_probability=-1.1), True, True),
        (heard("No, no, no. " * 20), True, True),
        (heard(SAID["ru"]), True, True),
        (heard(" ", n_tokens=1), True, False),
    ],
)
def test_what_is_doubtful_is_heard_again_and_what_is_bad_with_other_words(
    attempt: Decoded, doubtful: bool, bad: bool
) -> None:
    assert (is_doubtful(attempt, 5.0, "en"), is_bad(attempt, 5.0, "en")) == (doubtful, bad)


def test_only_double_doubt_makes_a_text_an_invention() -> None:
    assert is_invented(heard(log_probability=-1.1, no_speech=0.7))
    assert not is_invented(heard(log_probability=-0.5, no_speech=0.99))
    assert not is_invented(heard(log_probability=-1.1, no_speech=0.5))


def test_the_best_attempt_is_the_surest_that_makes_sense() -> None:
    unsure, surer = heard(log_probability=-1.3), heard(log_probability=-0.9)
    circles, foreign, empty = heard("No, no. " * 40, -0.01), heard(SAID["ru"], -0.01), heard("", -0.01, n_tokens=0)
    assert best([circles, unsure, foreign, surer, empty], 5.0, "en") is surer
    assert best([circles, unsure], 5.0, "en") is unsure
    assert best([foreign, circles], 5.0, "en") is foreign
    assert best([foreign, unsure], 5.0, "ru") is foreign
    assert best([empty], 5.0, "en") is empty


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("The same text.", "the same, text", 1.0),
        ("", "", 1.0),
        ("", "something", 0.0),
        ("你是有能力的", "你是没有能力的。", 0.92),
    ],
)
def test_attempts_agree_as_far_as_their_letters_do(first: str, second: str, shared: float) -> None:
    assert agreement(first, second) == pytest.approx(shared, abs=0.07)


# Between two tries


@pytest.mark.parametrize(("receive_count", "delay_s"), [(1, 10), (2, 40), (3, 160), (4, 640), (5, 900), (100, 900)])
def test_the_wait_before_the_next_try_grows_up_to_a_quarter_of_an_hour(receive_count: int, delay_s: float) -> None:
    assert retry_delay_s(10, receive_count) == delay_s


def test_no_wait_stays_no_wait() -> None:
    assert retry_delay_s(0, 3) == 0
