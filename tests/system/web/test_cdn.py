"""The digests of the fallback are those of the npm packages, which the CDN serves byte for byte."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from onward.web.cdn import SCRIPTS, STYLES, CdnFile
from tests.system.web.conftest import missing


@pytest.mark.long
@pytest.mark.parametrize("file", [*SCRIPTS, *STYLES], ids=lambda file: f"{file.package}/{file.path}")
def test_a_digest_is_that_of_the_package_s_file(file: CdnFile, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        missing("needs npm: apt-get install nodejs npm")
    packed = subprocess.run(
        ["npm", "pack", file.package, "--json", "--ignore-scripts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if packed.returncode != 0:
        missing(f"needs the npm registry: {packed.stderr}")
    with tarfile.open(tmp_path / json.loads(packed.stdout)[0]["filename"]) as package:
        found = package.extractfile(f"package/{file.path}")
        assert found is not None
        digest = hashlib.sha384(found.read()).digest()
    assert file.integrity == "sha384-" + base64.b64encode(digest).decode()
