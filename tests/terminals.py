"""Programs on a terminal, as a person sees them."""

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence


def on_a_terminal(command: Sequence[str], *, variables: Mapping[str, str], seen: Sequence[str] = ()) -> tuple[int, str]:
    """Return the exit code and the output. A line is typed after each of the words in `seen`.

    What is typed comes through a pipe.
    """
    terminal, theirs = pty.openpty()
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    assert running.stdin
    shown, waited = b"", [words.encode() for words in seen]
    while part := _read(terminal):
        shown += part
        while waited and waited[0] in shown:
            del waited[0]
            running.stdin.write(b"\n")
            running.stdin.flush()
    os.close(terminal)
    running.stdin.close()
    code = running.wait()
    assert waited == [], shown.decode()
    return code, shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last one at the other end has closed it
        return b""
