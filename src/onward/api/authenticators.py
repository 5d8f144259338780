"""Identifies callers by the settings' kind of token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onward.api.request_gate import Authenticate
from onward.config.settings import Jwt, Settings, SettingsError
from onward.graphql.viewer import ADMIN, Viewer

if TYPE_CHECKING:
    from onward.api.tokens import Keys


def authenticator(settings: Settings) -> Authenticate:
    """Return the function that turns a token into a viewer. Raises SettingsError where no token could be checked."""
    if settings.auth.mode == "open":
        return everyone_is_admin
    from onward.api.tokens import Tokens  # noqa: PLC0415 - an open server starts without PyJWT

    jwt = settings.auth.jwt
    return Tokens(_keys(jwt), issuer=jwt.issuer, audience=jwt.audience, leeway_s=jwt.leeway_s)


def everyone_is_admin(_token: str | None) -> Viewer:
    """The viewer of an open server: the one user of their own machine, who may do everything."""
    return Viewer(id=None, roles=(ADMIN,))


def _keys(jwt: Jwt) -> Keys:
    """The keys that check signatures. Raises SettingsError."""
    from onward.api import tokens  # noqa: PLC0415 - as above

    for name, path, read in (("public_key", jwt.public_key, tokens.public_key), ("jwks", jwt.jwks, tokens.key_set)):
        if path is not None:
            try:
                return read(path.read_bytes())
            except OSError as error:
                raise SettingsError(f"auth.jwt.{name}: {path} cannot be read: {error.strerror}") from error
            except tokens.UnusableKey as error:
                raise SettingsError(f"auth.jwt.{name}: {path} {error}") from error
    return tokens.secret(jwt.secret.get_secret_value())
