"""The image of examples/bookshop, with a read-only root and without root rights."""

import os
import shutil
from pathlib import Path

import pytest

from tests.system.deploy.image import Image, lacking
from tests.system.examples.test_bookshop import BOOKSHOP, LEFT_OUT
from tests.system.package.fixtures import Package

USER = 10001


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_image_of_the_bookshop_makes_its_tables_and_writes_nowhere_else(package: Package, tmp_path: Path) -> None:
    if missing := lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    shop, volume = tmp_path / "bookshop", tmp_path / "volume"
    shutil.copytree(BOOKSHOP, shop, ignore=LEFT_OUT)
    (shop / "wheels").mkdir()
    shutil.copy(package.wheel, shop / "wheels")
    volume.mkdir()
    os.chown(volume, USER, USER)
    image = Image(tmp_path, shop, shop / "Dockerfile", shop / ".dockerignore")
    try:
        assert [path.name for path in (image.root / "app").iterdir() if path.name != "var"] == ["settings.toml"]
        assert not list(image.root.glob("**/secret.env"))
        output = image.shell("/opt/venv/bin/python -m bookshop && id -u; touch /x /app/x /opt/venv/x", volume)
        assert (output.stdout, output.stderr.count("Read-only file system")) == (f"{USER}\n", 3), output.stderr
    finally:
        image.close()
