"""A handler whose generated mutation needs no token where registration is open."""

from onward import JobContext, handler


@handler("users.welcome", mutation="registerUser")
async def welcome(job: JobContext, *, username: str) -> None: ...


@handler("users.other", mutation=True)
async def other(job: JobContext, *, username: str) -> None: ...


@handler("users.invite", mutation=True)
async def invite(job: JobContext, *, username: str) -> list[str]:
    """Dispatch two jobs, one of them for another owner."""
    request = welcome.job(username=username)
    return [job.dispatch(request), job.dispatch(request, owner="bob", priority=9)]
