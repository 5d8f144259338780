"""GraphQL mutations that accept jobs, answer at once, and hand the jobs to a backend named in the settings.

The names below are the public interface; docs/api.md lists them. Each is imported when it is first used, so that
`import onward` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onward.application import Onward as Onward
    from onward.backends.base import Backend as Backend
    from onward.config.errors import SettingsError as SettingsError
    from onward.graphql.viewer import Viewer as Viewer
    from onward.handlers.base import JSON as JSON
    from onward.handlers.base import BatchRequest as BatchRequest
    from onward.handlers.base import ChildResult as ChildResult
    from onward.handlers.base import Handler as Handler
    from onward.handlers.base import HandlerError as HandlerError
    from onward.handlers.base import HandlerOptions as HandlerOptions
    from onward.handlers.base import InvalidParameters as InvalidParameters
    from onward.handlers.base import JobCancelled as JobCancelled
    from onward.handlers.base import JobContext as JobContext
    from onward.handlers.base import JobRequest as JobRequest
    from onward.handlers.base import LeaseLost as LeaseLost
    from onward.handlers.base import Limit as Limit
    from onward.handlers.base import Mutation as Mutation
    from onward.handlers.base import Permanent as Permanent
    from onward.handlers.base import Refused as Refused
    from onward.handlers.base import Results as Results
    from onward.handlers.base import Retry as Retry
    from onward.handlers.base import RetryIn as RetryIn
    from onward.handlers.base import TimedOut as TimedOut
    from onward.handlers.base import Unique as Unique
    from onward.handlers.base import UnknownHandler as UnknownHandler
    from onward.handlers.base import batch as batch
    from onward.handlers.base import handler as handler
    from onward.handlers.base import sequence as sequence
    from onward.handlers.base import sleep as sleep
    from onward.handlers.base import wait_for as wait_for
    from onward.jobs.base import BatchConflict as BatchConflict
    from onward.jobs.base import Conflict as Conflict
    from onward.jobs.base import JobFailed as JobFailed
    from onward.jobs.base import KeyReused as KeyReused
    from onward.jobs.base import NotFound as NotFound
    from onward.jobs.base import NotUnique as NotUnique
    from onward.jobs.model import JobChunk as JobChunk
    from onward.storage.base import Deadlock as Deadlock
    from onward.storage.base import Unavailable as Unavailable
    from onward.storage.callers import UnusableSession as UnusableSession
    from onward.storage.ledger import Ledger as Ledger
    from onward.storage.transaction import Tx as Tx

_MODULES = {
    "Onward": "onward.application",
    "Backend": "onward.backends.base",
    "SettingsError": "onward.config.errors",
    "Viewer": "onward.graphql.viewer",
    "JSON": "onward.handlers.base",
    "BatchRequest": "onward.handlers.base",
    "ChildResult": "onward.handlers.base",
    "Handler": "onward.handlers.base",
    "HandlerError": "onward.handlers.base",
    "HandlerOptions": "onward.handlers.base",
    "InvalidParameters": "onward.handlers.base",
    "JobCancelled": "onward.handlers.base",
    "JobContext": "onward.handlers.base",
    "JobRequest": "onward.handlers.base",
    "LeaseLost": "onward.handlers.base",
    "Limit": "onward.handlers.base",
    "Mutation": "onward.handlers.base",
    "Permanent": "onward.handlers.base",
    "Refused": "onward.handlers.base",
    "Results": "onward.handlers.base",
    "Retry": "onward.handlers.base",
    "RetryIn": "onward.handlers.base",
    "TimedOut": "onward.handlers.base",
    "Unique": "onward.handlers.base",
    "UnknownHandler": "onward.handlers.base",
    "batch": "onward.handlers.base",
    "handler": "onward.handlers.base",
    "sequence": "onward.handlers.base",
    "sleep": "onward.handlers.base",
    "wait_for": "onward.handlers.base",
    "Conflict": "onward.jobs.base",
    "BatchConflict": "onward.jobs.base",
    "JobFailed": "onward.jobs.base",
    "KeyReused": "onward.jobs.base",
    "NotFound": "onward.jobs.base",
    "NotUnique": "onward.jobs.base",
    "JobChunk": "onward.jobs.model",
    "Deadlock": "onward.storage.base",
    "Unavailable": "onward.storage.base",
    "UnusableSession": "onward.storage.callers",
    "Tx": "onward.storage.transaction",
    "Ledger": "onward.storage.ledger",
}
__all__ = [*_MODULES]  # noqa: PLE0604 - a list of strings, kept in one place

if not TYPE_CHECKING:  # a type checker would take any name for one of the module, also a misspelt one

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'onward' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value
