"""The image of examples/bookshop, with a read-only root and without root rights."""

import os
import shutil
from pathlib import Path

import httpx2
import pytest

from tests.processes import wait_until
from tests.servers import free_port
from tests.system.deploy.image import Image, lacking
from tests.system.examples.test_bookshop import BOOKSHOP, LEFT_OUT
from tests.system.package.fixtures import Package

USER = 10001


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_image_of_the_bookshop_serves_it(package: Package, tmp_path: Path) -> None:
    if missing := lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    shop, volume, port = tmp_path / "bookshop", tmp_path / "volume", free_port()
    shutil.copytree(BOOKSHOP, shop, ignore=LEFT_OUT)
    (shop / "wheels").mkdir()
    shutil.copy(package.wheel, shop / "wheels")
    volume.mkdir()
    os.chown(volume, USER, USER)
    image = Image(tmp_path, shop, shop / "Dockerfile", shop / ".dockerignore")
    try:
        assert [path.name for path in (image.root / "app").iterdir() if path.name != "var"] == ["settings.toml"]
        assert not list(image.root.glob("**/secret.env"))
        output = image.shell("python -m bookshop && id -u; touch /x /app/x /opt/venv/x", volume)
        assert (output.stdout, output.stderr.count("Read-only file system")) == (f"{USER}\n", 3), output.stderr
        with image.running(*image.config["Cmd"], "--port", str(port), volume=volume) as api:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as browser:
                wait_until(lambda: "running on" in api.output())
                browser.post("/register", json={"email": "ada@example.org", "password": "correct horse"})
                order = 'mutation { placeOrder(book: "1") { job } }'
                answer = browser.post("/graphql", json={"query": order}).json()
                assert "errors" not in answer
                wait_until(lambda: list(volume.glob("mail/*.eml")))
            api.end(60)
    finally:
        image.close()
