"""A private Redis for `onward up`, started if none answers at the configured address."""

import ipaddress
import shutil
import socket
from urllib.parse import unquote, urlsplit

from onward.config.settings import Settings, SettingsError
from onward.files import private_directory
from onward.supervisor.supervisor import ProcessSpec

PROBE_TIMEOUT_S = 2.0


def process_spec(settings: Settings) -> ProcessSpec | None:
    """Return the process to supervise; None if a Redis answers already. Raises SettingsError if none can be started."""
    key = "backends.dramatiq.url"
    address = urlsplit(settings.backends.dramatiq.url)
    host, port = address.hostname or "127.0.0.1", address.port or 6379
    if address.scheme != "redis" or "sentinels=" in address.query:
        return None
    if _answers(host, port):
        return None
    if not _is_loopback(host):
        raise SettingsError(f"{key}: no Redis answers at {host}:{port}, and one is started on this machine only")
    if address.username not in {None, "", "default"}:
        words = "and one that is started here has no users: leave the name out, as in redis://:PASSWORD@127.0.0.1/0"
        raise SettingsError(f"{key}: no Redis answers at {host}:{port}, {words}")
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SettingsError(f"{key}: no Redis answers at {host}:{port} (Debian: apt-get install redis-server)")
    folder = settings.project / "var" / "redis"
    private_directory(folder)
    lines = [
        f"bind {host}",
        f"port {port}",
        f"dir {_quoted(str(folder))}",
        "appendonly yes",
        "maxmemory-policy noeviction",
        'save ""',
        "loglevel warning",
    ]
    if address.password:
        lines.append(f"requirepass {_quoted(unquote(address.password))}")
    # On standard input, not on the command line, where everybody on the machine could read the password.
    return ProcessSpec("redis", (program, "-"), stage=1, stdin="\n".join([*lines, ""]).encode(), umask=0o077)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Quote a word of Redis's configuration: letters and digits as they are, other bytes by number."""
    return (
        '"'
        + "".join(
            chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\x{byte:02x}" for byte in text.encode()
        )
        + '"'
    )
