"""One copy of SQLite in a process: the reason is with `onward.storage.sqlite.dbapi`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from onward.config.settings import Settings
from onward.runtime.backends import backend_class, used
from onward.runtime.database import database_of
from onward.runtime.loading import load


def is_embedded(settings: Settings, *, with_gql: bool = False) -> bool:
    """Load the project's modules, and return whether they bring Python's own SQLite, which the ledger uses then, too.

    Otherwise a later use of it for the ledger's file is refused, in this process and for ever. Raises SettingsError.
    """
    path = database_of(settings).path
    if path is None:
        return False
    for name in settings.handlers.modules:
        load(name, "handlers.modules")
    for name in settings.gql.modules if with_gql else ():
        load(name, "gql.modules")
    if settings.handlers.lifespan:
        load(settings.handlers.lifespan.partition(":")[0], "handlers.lifespan")
    if settings.auth.viewer and with_gql:
        load(settings.auth.viewer.partition(":")[0], "auth.viewer")
    for name in settings.backends.custom.keys() & used(settings):
        backend_class(settings, name)
    if "sqlite3" in sys.modules:
        return True

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect" and _is_file(arguments[0], str(path)):
            raise RuntimeError(
                "this process has the ledger's file open by pysqlite3, and a second copy of SQLite would damage it:"
                " write `import sqlite3` at the head of the module, and the ledger is opened by that one, too"
            )

    sys.addaudithook(refuse)
    return False


def _is_file(name: Any, path: str) -> bool:
    text = os.fsdecode(name)
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    try:
        return Path(text).samefile(path)
    except OSError:  # ":memory:", or a new file
        return False
