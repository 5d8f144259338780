"""The image of a project that `onward new project` writes, with a read-only root and without root rights."""

import os
import shutil
from pathlib import Path

import pytest

from onward.cli import new_project
from tests.processes import graphql, wait_until
from tests.servers import free_port
from tests.system.deploy.image import Image, lacking
from tests.system.package.fixtures import Package

USER = 10001
SEND = 'mutation { ordersConfirm(input: {order: "A-17", items: ["pen"]}) { job { id } } }'
JOB = "query ($id: ID!) { job(id: $id) { status } }"


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_image_of_a_new_project_does_a_job(package: Package, tmp_path: Path) -> None:
    if missing := lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    shop, volume, port = tmp_path / "shop", tmp_path / "volume", free_port()
    new_project.write(shop)
    (shop / "wheels").mkdir()
    shutil.copy(package.wheel, shop / "wheels")
    volume.mkdir()
    os.chown(volume, USER, USER)
    image = Image(tmp_path, shop, shop / "Dockerfile", shop / ".dockerignore")
    try:
        assert [path.name for path in (image.root / "app").iterdir() if path.name != "var"] == ["settings.toml"]
        assert not list(image.root.glob("**/secret.env"))
        output = image.shell("id -u; touch /x /app/x /opt/venv/x; touch /app/var/ok && echo written", volume)
        assert (output.stdout, output.stderr.count("Read-only file system")) == (f"{USER}\nwritten\n", 3)
        serve = ("serve", "--host", "0.0.0.0", "--port", str(port))
        with image.running(*serve, volume=volume, variables={"ONWARD_AUTH__ALLOW_PUBLIC": "true"}) as api:
            api.serving()
            address = f"http://127.0.0.1:{port}"
            job = graphql(address, SEND)["ordersConfirm"]["job"]["id"]
            wait_until(lambda: graphql(address, JOB, id=job)["job"]["status"] == "SUCCEEDED")
            assert api.end(60) == 0, api.output()
    finally:
        image.close()
