"""Run a server with two buckets, one for the recordings and one for the transcripts."""

import os
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chaos.processes import DEST, SOURCE
from nightscribe.shared.process.children import start_child

HOST = "127.0.0.1"
START_TIMEOUT_S = 60


@contextmanager
def bucket_server(folder: Path) -> Iterator[int]:
    """Run ministack with empty buckets while the context lasts, lead this process to it, and yield its port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    settings = {"BIND_HOST": HOST, "GATEWAY_PORT": str(port), "SERVICES": "s3", "STATE_DIR": str(folder / "buckets")}
    program = str(Path(sysconfig.get_path("scripts")) / "ministack")
    with (folder / "logs" / "buckets.log").open("wb") as output:
        server = start_child([sys.executable, program], environment=dict(os.environ) | settings, output=output)
    os.environ |= {
        "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{port}",
        "AWS_ACCESS_KEY_ID": "chaos",
        "AWS_SECRET_ACCESS_KEY": "chaos",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        client = boto3.client("s3")
        until = time.monotonic() + START_TIMEOUT_S
        for bucket in (SOURCE, DEST):
            while True:
                try:
                    client.create_bucket(Bucket=bucket)
                    break
                except (BotoCoreError, ClientError):
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


def upload(path: Path, key: str) -> None:
    """Move a recording into its bucket."""
    boto3.client("s3").put_object(Bucket=SOURCE, Key=key, Body=path.read_bytes())
    path.unlink()
