"""`nightscribe serve` and `nightscribe token`, as a user types them."""

import json
import os
import pwd
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nightscribe.cli.main import cli


def typed(*words: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], input=stdin)


def test_a_token_is_created_by_a_user_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, whose user has only a number."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert typed("token", "create", tmp_path, "backup").exit_code == 0
    assert typed("token", "revoke", tmp_path, "backup").exit_code == 0


def test_tokens_are_created_listed_and_revoked(tmp_path: Path) -> None:
    made = typed("token", "create", tmp_path, "backup", "--scope", "write", "--days", "30", "--folder", "2012")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert re.fullmatch(r"ns_[\w-]{43}", secret)
    assert "shown only now" in made.stderr
    login = typed("token", "create", tmp_path, "anna", "--login", stdin="correct horse battery\n")
    assert "anna can log in now (write)" in login.stdout
    listed = typed("token", "list", tmp_path)
    assert "backup  (write, only in 2012/; expires" in listed.stdout
    assert secret not in listed.output
    [first, _] = map(json.loads, typed("token", "list", tmp_path, "--json").stdout.splitlines())
    assert (first["kind"], first["name"], first["folder"]) == ("token", "backup", "2012")
    assert "Revoked: token backup" in typed("token", "revoke", tmp_path, first["id"]).stdout
    again = typed("token", "revoke", tmp_path, "backup")
    assert (again.exit_code, "There is no token" in again.output) == (2, True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--host", "0.0.0.0"], "others can reach 0.0.0.0"),
        (["--require-login"], "--require-login is set"),
        (["--allowed-hosts", "transcripts.example.org"], "--allowed-hosts is set"),
        (["--port", "99999"], "--port is '99999': it must be at most 65535"),
        (["--host", "192.0.2.1"], "There is no token"),
    ],
)
def test_it_refuses_to_start_where_anybody_could_come_in(tmp_path: Path, options: list[str], why: str) -> None:
    done = typed("serve", tmp_path, *options)
    assert (done.exit_code, why in done.output) == (2, True), done.output


def test_it_starts_serves_and_stops(tmp_path: Path, sockets: None) -> None:
    command = [sys.executable, "-m", "nightscribe", "serve", str(tmp_path), "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as run:
        try:
            assert run.stdout
            line = next(each for each in run.stdout if "http" in each)
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, line
            with urllib.request.urlopen(f"{found[0]}api/v1/recordings", timeout=120) as response:
                assert json.load(response)["recordings"] == []
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(
                    urllib.request.Request(f"{found[0]}api/v1/recordings", headers={"Host": "evil.example"}),
                    timeout=120,
                )
            assert refused.value.code == 421
            refused.value.close()
            port = found[0].rpartition(":")[2].strip("/")
            taken = typed("serve", tmp_path, "--port", port)
            assert (taken.exit_code, "cannot listen" in taken.output) == (2, True)
            run.send_signal(signal.SIGTERM)
            assert run.wait(120) == 0
        finally:
            run.kill()
