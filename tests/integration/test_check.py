"""`nightscribe director --check`: what containers wait for before a worker is started."""

from click.testing import CliRunner, Result
from support.workplace import Workplace

from nightscribe.cli.main import cli


def check(workplace: Workplace, *options: str) -> Result:
    arguments = [str(workplace.source), str(workplace.dest), "--queue-name", workplace.queue.name, "--check", *options]
    return CliRunner().invoke(cli, ["director", *arguments])


def test_where_all_is_right_nothing_is_queued(workplace: Workplace) -> None:
    (workplace.source / "a.wav").write_bytes(b"RIFF")
    found = check(workplace)
    assert found.exit_code == 0, found.output
    assert found.output == "Source, destination, options and queue are valid.\n"
    assert workplace.is_empty()


def test_what_a_director_would_end_with_ends_the_check(workplace: Workplace) -> None:
    found = check(workplace, "--model", "tiny.en", "--language", "vi")
    assert found.exit_code == 2
    assert "knows only English" in found.output


def test_a_source_that_is_gone_ends_the_check(workplace: Workplace) -> None:
    workplace.source.rename(workplace.source.with_name("elsewhere"))
    found = check(workplace)
    assert found.exit_code == 2
    assert "does not exist" in found.output
