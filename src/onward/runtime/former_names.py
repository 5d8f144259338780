"""Import names of release 0.1, for projects that were written for it: they work for one more release, with a warning.

A finder behind all others answers for the modules of the table, so nothing of a project or of a library is hidden by
it. `load` installs it when it imports the first module of a project; `import onward` does not.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType
from typing import Any

from onward.telemetry import logger

PACKAGES = frozenset({"backends", "gql", "gql.types", "handlers", "jobs", "storage", "testkit", "testkit.laws"})
MODULES: Mapping[str, str] = MappingProxyType(
    {
        "backends.background": "onward.backends.background",
        "backends.base": "onward.backends.base",
        "backends.dramatiq": "onward.backends.dramatiq",
        "backends.testing": "onward.testing.backends",
        "gql.acceptance": "onward.graphql.enqueue",
        "gql.base": "onward.graphql.base",
        "gql.context": "onward.graphql.context",
        "gql.guard": "onward.graphql.guard",
        "gql.ids": "onward.graphql.ids",
        "gql.inputs": "onward.graphql.inputs",
        "gql.moments": "onward.graphql.datetime_scalar",
        "gql.types.enums": "onward.graphql.types.enums",
        "gql.types.filter": "onward.graphql.types.filter",
        "gql.types.job": "onward.graphql.types.job",
        "gql.types.node": "onward.graphql.types.node",
        "gql.types.page": "onward.graphql.types.page",
        "gql.types.user_error": "onward.graphql.types.user_error",
        "gql.validation": "onward.graphql.validation",
        "handlers.base": "onward",
        "handlers.context": "onward.handlers.context",
        "jobs.base": "onward.jobs.base",
        "jobs.ledger": "onward.jobs.ledger",
        "jobs.model": "onward.jobs.model",
        "jobs.states": "onward.jobs.states",
        "storage.base": "onward.storage.base",
        "storage.engine": "onward.storage.engine",
        "testkit.conformance": "onward.testing.conformance",
        "testkit.fixtures": "onward.testing.fixtures",
        "testkit.kit": "onward.testing.app",
        "testkit.rig": "onward.testing.backend_fixture",
        "testkit.stand": "onward.testing.harness",
        "testkit.waiting": "onward.testing.waiting",
        "testkit.workload": "onward.testing.workload",
    }
)
"""The present module for each former one."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "backends.base:Backend": "onward.runtime.former:FormerBackend",
        "gql.acceptance:Instead": "onward.graphql.enqueue:ReplaceParams",
        "gql.acceptance:FURTHEST": "onward.graphql.enqueue:MAX_DELAY",
        "gql.acceptance:Refused": "onward.graphql.enqueue:MutationError",
        "gql.acceptance:accept": "onward.graphql.former:accept_with_write",
        "gql.context:Parts": "onward.graphql.context:Services",
        "gql.context:Viewer": "onward.graphql.viewer:Viewer",
        "gql.inputs:leaves": "onward.graphql.inputs:scalar_input",
        "handlers.base:Log": "onward.handlers.context:Log",
        "handlers.base:Mailer": "onward.handlers.context:Mailer",
        "handlers.base:Toolbox": "onward.handlers.context:Toolbox",
        "handlers.base:Tools": "onward.handlers.context:Tools",
        "storage.engine:Tx": "onward.storage.transaction:Tx",
        "storage.engine:among": "onward.storage.sql:in_array",
        "storage.engine:as_list": "onward.storage.sql:as_list",
        "storage.engine:insert_new": "onward.storage.sql:insert_new",
        "storage.engine:listed": "onward.storage.sql:in_array",
        "testkit.kit:Kit": "onward.testing.app:TestApp",
        "testkit.rig:Rig": "onward.testing.backend_fixture:BackendFixture",
        "testkit.stand:Stand": "onward.testing.harness:Harness",
        "testkit.stand:standing": "onward.testing.harness:open_harness",
    }
)
"""The present place of each renamed or moved name."""


class FormerNames(MetaPathFinder, Loader):
    """Finds the former modules; each one forwards to the present module."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the finder's interface
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> ModuleSpec | None:
        """Return the specification of a former module; None for any other."""
        if fullname not in MODULES and fullname not in PACKAGES:
            return None
        return ModuleSpec(fullname, self, is_package=fullname in PACKAGES)

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and let the module's names be looked up in the present module."""
        former = module.__name__
        if former in PACKAGES:
            return
        now = MODULES[former]
        text = f"{former} is now {now}; the old name goes with the next release"
        logger("onward").warning("a module has another name now", module=former, now=now)
        warnings.warn(text, DeprecationWarning, stacklevel=2)

        def look_up(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            place, _, attribute = NAMES.get(f"{former}:{name}", f"{now}:{name}").partition(":")
            if attribute != name and not place.endswith("former"):  # of an adapter the module's warning says enough
                renamed = f"{former}.{name} is now {place}.{attribute}"
                warnings.warn(renamed, DeprecationWarning, stacklevel=2)
            return getattr(import_module(place), attribute)

        module.__getattr__ = look_up  # type: ignore[method-assign]


def install() -> None:
    """Let the names of release 0.1 be imported. May be called twice."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
