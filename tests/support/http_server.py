"""A server with a socket in a thread of this process, for what a test client without one cannot show."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import uvicorn
from fastapi import FastAPI

from support.waiting import wait_until


@contextmanager
def listening(app: FastAPI) -> Iterator[int]:
    """Serve an application on a free port of loopback until the context ends; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical", timeout_keep_alive=60))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started, what="that the server listens")
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def connection(port: int) -> HTTPConnection:
    """A connection to it."""
    return HTTPConnection("127.0.0.1", port, timeout=60)
