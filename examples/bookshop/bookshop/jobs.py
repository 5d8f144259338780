"""Onward, and its viewers: the users of the bookshop."""

from onward import Onward, Viewer
from starlette.requests import HTTPConnection

from bookshop.auth import current_user


async def viewer(connection: HTTPConnection) -> Viewer | None:
    user = await current_user(connection)
    return Viewer(user.id, roles=["admin"] if user.is_staff else []) if user else None


onward = Onward.from_settings("settings.toml", viewer=viewer)
