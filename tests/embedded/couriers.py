"""A handler without tools, in a module that imports functools."""

from functools import cache

from onward import JobContext, handler


@cache
def route(street: str) -> str:
    return street.casefold()


@handler("couriers.send")
async def send(_job: JobContext, *, street: str) -> str:
    return route(street)
