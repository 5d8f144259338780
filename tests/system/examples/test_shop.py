"""examples/shop, as its README says: its own tests pass, and an order goes from the mutation through RQ to its end."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.processes import ROOT, environment, graphql, running, wait_until

pytestmark = pytest.mark.slow

SHOP = ROOT / "examples" / "shop"
SEND = "mutation ($input: ConfirmOrderInput!) { confirmOrder(input: $input) { job { id } errors { message } } }"
JOB = "query ($id: ID!) { job(id: $id) { status backend done result error { code } steps { name status } } }"
PINNED = re.compile(r"^([a-z0-9-]+==[\w.]+)", re.MULTILINE)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the shop, so that no ledger is left in the repository."""
    return Path(shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns("var", "__pycache__", ".*")))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("selected", "least"), [(("-k", "orders"), 3), pytest.param((), 49, marks=pytest.mark.long)], ids=["part", "all"]
)
def test_the_shop_s_own_tests_pass_and_its_backend_passes_every_contract_test(
    shop: Path, redis_url: str, selected: tuple[str, ...], least: int
) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "onward"), "--project", str(shop), "test", "-q", "-x", *selected],
        env=environment(REDIS_URL=redis_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= least
    assert "skipped" not in run.stdout


def test_orders_go_through_rq_and_are_watched_to_their_end(shop: Path, redis_url: str, namespace: str) -> None:
    settings = (shop / "settings.toml").read_text("utf-8")
    settings = settings.replace("redis://127.0.0.1:6379/0", redis_url).replace('"shop"', f'"{namespace}"')
    (shop / "settings.toml").write_text(settings.replace("port = 8010", "port = 0"), "utf-8")

    def ended(items: list[str]) -> dict[str, object]:
        order = {"order": "A-17", "email": "ada@example.org", "items": items}
        job = graphql(address, SEND, input=order)["confirmOrder"]["job"]["id"]
        wait_until(lambda: graphql(address, JOB, id=job)["job"]["done"])
        found: dict[str, object] = graphql(address, JOB, id=job)["job"]
        return found

    with running("up", "--processes", "1", project=shop) as up:
        address = up.serving()
        confirmed, refused = ended(["pen", "ink"]), ended(["unicorn"])
        log = shop / "var" / "notifications.jsonl"
        wait_until(log.exists)
    assert (confirmed["status"], confirmed["backend"]) == ("SUCCEEDED", "rq")
    assert confirmed["result"] == {"order": "A-17", "items": 2}
    assert (refused["status"], refused["error"]) == ("FAILED", {"code": "SOLD_OUT"})
    assert "Order A-17 is confirmed: pen, ink." in log.read_text("utf-8")


def test_the_backend_is_under_a_hundred_lines() -> None:
    assert len((SHOP / "rq_backend.py").read_text("utf-8").splitlines()) < 100


def test_the_shop_s_lock_has_the_tested_versions_and_onward_needs_none_of_them() -> None:
    lock = (SHOP / "requirements.txt").read_text("utf-8")
    runtime, development = ((ROOT / name).read_text("utf-8") for name in ("requirements.txt", "requirements-dev.txt"))
    assert set(PINNED.findall(lock)) <= set(PINNED.findall(runtime)) | set(PINNED.findall(development))
    assert lock.count("\n    --hash=sha256:") >= len(PINNED.findall(lock))
    assert "rq==" not in runtime
    assert not any(
        name.startswith("rq")
        for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    )
