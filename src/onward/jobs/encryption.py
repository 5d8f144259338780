"""Encryption of secret parameters: encrypted in the ledger, in the clear only for the call of the handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from onward.handlers.base import Handler, InvalidParameters, Permanent
from onward.jobs.base import JobsError
from onward.jobs.param_filter import ENCRYPTED

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

MIN_FOUND_WITHIN = 8  # a shorter secret is refused as the whole of a text alone: it is part of many a date
MIN_REDACTED = 4  # a shorter secret is not looked for in texts: it would be found everywhere


class NoKey(JobsError):
    """A handler has secret parameters, and no key is configured to encrypt them."""


class Encryption:
    """Encrypts with the first of the keys, and decrypts with any of them. Raises ValueError for an invalid key."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._fernet = _fernet(keys) if keys else None

    def check(self, handler: Handler) -> None:
        """Raise NoKey if the handler has secrets and no key is configured."""
        if handler.secret and self._fernet is None:
            raise NoKey(f"{handler.name} has secret parameters ({', '.join(sorted(handler.secret))}), which need a key")

    def encrypt(self, handler: Handler, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Encrypt the secret parameters. Raises NoKey, and InvalidParameters for a value that looks encrypted."""
        forged = [
            (name, "has the form of an encrypted value")
            for name, value in params.items()
            if isinstance(value, dict) and _is_encrypted(value)
        ]
        if forged:
            raise InvalidParameters(forged)
        if not handler.params.secret:
            return params
        self.check(handler)
        assert self._fernet is not None  # noqa: S101 - for the type checker
        encrypted = {
            name: {ENCRYPTED: self._fernet.encrypt(orjson.dumps(params[name])).decode()} for name in handler.secret
        }
        return {**params, **encrypted}

    def decrypt(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Decrypt the parameters, and list the texts that must not be shown. Raises Permanent without the right key."""
        clear, texts = dict(params), []
        for name, value in params.items():
            if isinstance(value, dict) and _is_encrypted(value):
                clear[name] = self._decrypted(value[ENCRYPTED])
                texts += _texts(clear[name])
        return clear, tuple(texts)

    def _decrypted(self, token: str) -> Any:
        message = "the key of its secret parameters is not among those of this installation"
        if self._fernet is None:
            raise Permanent(message, code="SECRET_UNREADABLE")
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - as below

        try:
            return orjson.loads(self._fernet.decrypt(token))
        except InvalidToken:
            raise Permanent(message, code="SECRET_UNREADABLE") from None


def _fernet(keys: Sequence[str]) -> MultiFernet:
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - not needed without keys

    return MultiFernet([Fernet(key) for key in keys])


def redact(text: str, secrets: Sequence[str]) -> str:
    """Replace every secret in the text."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def redact_value(value: Any, secrets: Sequence[str]) -> Any:
    """Replace every secret in the texts of a JSON value, and long ones in the names of members; numbers stay."""
    if not secrets:
        return value
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        long = [secret for secret in secrets if len(secret) >= MIN_FOUND_WITHIN]  # a short one may be a usual name
        return {redact(name, long): redact_value(inner, secrets) for name, inner in value.items()}
    return [redact_value(inner, secrets) for inner in value] if isinstance(value, list) else value


def exposed(params: Mapping[str, Any], secrets: Sequence[str]) -> list[str]:
    """Return the names of the parameters that hold a secret in the clear."""
    return [name for name, value in params.items() if not _is_encrypted(value) and _holds(value, secrets)]


def _holds(value: Any, secrets: Sequence[str]) -> bool:
    """Return whether a text is the secret, or contains a long one, as the name of a member may."""
    parts = [secret for secret in secrets if len(secret) >= MIN_FOUND_WITHIN]  # a short one is found in any date
    texts = _texts(value)
    return any(text in secrets for text in texts) or any(
        part in text for text in (*texts, *_names(value)) for part in parts
    )


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {ENCRYPTED}


def _names(value: Any) -> list[str]:
    """Return the names of all members of a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*(value if isinstance(value, dict) else ()), *(name for one in inner for name in _names(one))]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    text = "" if value is None or isinstance(value, bool) else str(value)
    return [text] if len(text) >= MIN_REDACTED else []
