"""Speech engines as data: the names that may be chosen, and what is known of them."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from importlib.util import find_spec

import pytest

from nightscribe.shared.errors import SetupError, ValueRefused
from nightscribe.shared.model import engines
from nightscribe.shared.model.engines import BUILT_IN, EngineSpec, engine_name, engine_spec, register_engine
from nightscribe.shared.process import plugins
from nightscribe.worker.engines import registry

OWN = EngineSpec(name="own", load="own:load", requires="json", install="own", speed=5.0)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Forget what a test registers."""
    yield
    engines._registered.clear()


def installed(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Have these entry points, and no others."""
    found = [EntryPoint(name, value, engines.ENTRY_POINTS) for name, value in points.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)


def test_a_registered_engine_can_be_chosen() -> None:
    with pytest.raises(ValueRefused, match="There is no engine named 'own'"):
        engine_name("own")
    register_engine(OWN)
    register_engine(OWN)
    assert (engine_name("own"), engine_spec("own")) == ("own", OWN)
    assert registry.choose("own") == "own"
    with pytest.raises(ValueRefused, match="another engine named 'own'"):
        register_engine(replace(OWN, speed=6.0))
    with pytest.raises(ValueRefused, match="another engine named 'auto'"):
        register_engine(replace(OWN, name="auto"))


def test_no_package_takes_the_name_of_a_built_in_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is imported when a built-in engine is chosen."""
    installed(monkeypatch, **{"faster-whisper": "no_such_module:SPEC"})
    assert engine_spec("faster-whisper") is BUILT_IN["faster-whisper"]
    assert list(engines.engines()) == list(BUILT_IN)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:SPEC", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:dumps", "json:dumps is not an EngineSpec named theirs"),
        (f"{__name__}:OWN", f"{__name__}:OWN is not an EngineSpec named theirs"),
    ],
)
def test_an_entry_point_that_cannot_be_loaded_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    """When it is chosen, and when the engines are listed; the others can be chosen as before."""
    installed(monkeypatch, theirs=value, own=f"{__name__}:OWN")
    for name in ("theirs", "siri"):
        with pytest.raises(ValueRefused) as refused:
            engine_name(name)
        assert f"theirs of the package {value.partition(':')[0]} is installed but cannot be loaded ({reason})" in str(
            refused.value
        )
        assert "hoose auto, faster-whisper, onnx-whisper, openai-whisper, onnx-asr or own" in str(refused.value)
    assert engine_spec("own") == OWN


def test_a_language_or_task_it_does_not_know_is_refused() -> None:
    register_engine(replace(OWN, languages=frozenset({"en", "de"}), models=frozenset({"large", "small"})))
    registry.check("own", "small", language="auto", task="transcribe")
    registry.check("own", "small", language="de", task="transcribe")
    with pytest.raises(SetupError, match=r"own does not know the language fr, only de, en\."):
        registry.check("own", "small", language="fr", task="transcribe")
    with pytest.raises(
        SetupError, match=r"own cannot translate\. Choose --engine faster-whisper or onnx-whisper or openai-whisper"
    ):
        registry.check("own", "small", language="en", task="translate")
    with pytest.raises(SetupError, match=r"own has no model named 'base'\. Its models are large, small\."):
        registry.check("own", "base", language="en", task="transcribe")


@pytest.mark.parametrize("spec", BUILT_IN.values(), ids=BUILT_IN)
def test_a_built_in_description_names_what_there_is(spec: EngineSpec) -> None:
    module, _, attribute = spec.load.partition(":")
    assert find_spec(module) is not None
    assert attribute
    assert spec.typical_speed(spec.measured_model) == spec.speed
    assert spec.measured_model in spec.parameters


def test_an_engine_without_sizes_is_as_fast_with_any_model() -> None:
    assert OWN.typical_speed("tiny") == OWN.typical_speed("large") == 5.0


def test_a_request_that_it_cannot_follow_is_refused_with_the_engines_that_can() -> None:
    register_engine(replace(OWN, follows=frozenset({"beam_size"}), most_beams=4, compute_types=frozenset({"int8"})))

    def check(**requests: object) -> None:
        registry.check("own", "small", language="en", task="transcribe", requests=requests)

    check(beam_size=4, compute_type="int8")
    with pytest.raises(
        SetupError, match=r"own does not know --hotwords\. Choose --engine faster-whisper or onnx-whisper"
    ):
        check(hotwords=("Tilney",))
    with pytest.raises(SetupError, match="at most 4 beams; --beam-size is 5"):
        check(beam_size=5)
    with pytest.raises(SetupError, match="cannot compute in float16; --compute-type can be auto, or int8"):
        check(compute_type="float16")


def test_whisper_translates_only_into_english() -> None:
    check = BUILT_IN["faster-whisper"].check
    check(language="de", task="translate", translate_to="en")
    with pytest.raises(SetupError, match="translates only into en, and --translate-to is fr"):
        check(language="de", task="translate", translate_to="fr")
