"""API processes that share a port are replaced one after another, and no caller notices."""

import socket
import threading
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests import application
from tests.processes import ROOT, Running, graphql, running, wait_until

ITEM = 'mutation { processItem(input: {item: "words"}) { job { id } errors { message } } }'
LEFT = "{ system { counts { status count } } }"


@pytest.mark.slow
def test_a_rolling_deploy_refuses_no_request_and_loses_no_job(tmp_path: Path) -> None:
    """The port is bound by its parent and stays open, as in deploy/systemd/onward.socket."""
    application.write(tmp_path)
    accepted: list[str] = []
    failed: list[BaseException] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as port, ExitStack() as stack:
        address = f"http://127.0.0.1:{port.getsockname()[1]}"

        def start() -> Running:
            process = stack.enter_context(
                running("serve", "--fd", str(port.fileno()), project=tmp_path, descriptors=(port.fileno(),))
            )
            process.wait_for(" serving ")
            return process

        def call() -> None:
            while not done.is_set():
                try:
                    accepted.append(graphql(address, ITEM)["processItem"]["job"]["id"])
                except BaseException as error:  # noqa: BLE001 - any of them is a caller who was refused
                    failed.append(error)

        old = [start(), start()]
        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        for process in old:
            so_far = len(accepted)
            wait_until(lambda so_far=so_far: len(accepted) > so_far + 5)  # type: ignore[misc]
            assert process.end() == 0
            start()
        done.set()
        for caller in callers:
            caller.join()
        assert failed == []
        assert len(set(accepted)) == len(accepted) > 10
        wait_until(lambda: _succeeded(address) == len(accepted))


def test_systemd_considers_a_start_done_when_requests_are_answered(tmp_path: Path) -> None:
    """The second process is stopped only when the first one is back, because the units are of Type=notify."""
    application.write(tmp_path)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        socket.create_server(("127.0.0.1", 0)) as port,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        fd, place = port.fileno(), str(tmp_path / "notify")
        with running("serve", "--fd", str(fd), project=tmp_path, descriptors=(fd,), NOTIFY_SOCKET=place) as process:
            assert systemd.recv(64) == b"READY=1"
            with urlopen(f"http://127.0.0.1:{port.getsockname()[1]}/health/ready", timeout=10) as answer:
                assert answer.status == HTTPStatus.OK
            assert process.end() == 0
    assert "Type=notify" in (ROOT / "deploy/systemd/onward-api@.service").read_text("utf-8")


def _succeeded(address: str) -> int:
    counts = graphql(address, LEFT)["system"]["counts"]
    return next((int(row["count"]) for row in counts if row["status"] == "SUCCEEDED"), 0)
