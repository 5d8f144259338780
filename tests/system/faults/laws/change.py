"""The backend changed in settings.toml with work pending."""

from tests.system.faults.laws.base import ON_REDIS, Law, Stage, soon
from tests.system.faults.site import Site


def the_backend_may_change_with_jobs_pending(stage: Stage, n: int = 400) -> None:
    """In both directions: what is pending, running, retrying and scheduled is finished, nothing finished runs twice."""
    site = stage.site
    for backend in ("background", "dramatiq"):
        _work(site, n // 2)
        site.deploy(backend=backend)
    site.settle()
    backends = {attempt[2] for row in site.ledger.jobs().values() for attempt in row.attempts}
    assert backends == {"background", "dramatiq"}, f"only {backends} ran anything"


def _work(site: Site, n: int) -> None:
    site.client.send("processItem", n // 4, params={"runAt": soon(3)}, lanes=20)
    site.client.send("flaky", n // 20, params={"times": 2})
    site.client.send("processItem", n // 2, lanes=20)
    site.client.send("steps", n // 5, params={"pause_s": 0.1, "children": 1}, lanes=20)


LAWS = (Law(the_backend_may_change_with_jobs_pending, ON_REDIS),)
