"""Build the pages' bundles with the wheel and the sdist: an installed package needs neither npm nor a network."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundlesHook(BuildHookInterface[Any]):
    """Adds the finished bundles to what is built. HATCH_BUILD_NO_HOOKS=true builds without it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build them unless they are up to date, as in an sdist; an editable install goes without."""
        if version == "editable":
            return
        source = Path(self.root, "src")
        sys.path.insert(0, str(source))
        from onward.web import build  # noqa: PLC0415 - found only now
        from onward.web.base import BuildFailed  # noqa: PLC0415

        for bundle in build.BUNDLES:
            try:
                bundle.build()
            except BuildFailed as error:
                self.app.abort(
                    f"onward: the {bundle.name} cannot be built: {error}\n"
                    "HATCH_BUILD_NO_HOOKS=true builds the package without it; the explorer then comes from a public CDN"
                )
            built = bundle.current()
            if built is None:
                self.app.abort(f"onward: the {bundle.name}'s build left nothing behind")
                return
            for made in (bundle.output / "current.json", bundle.output / built.stamp):
                below = made.relative_to(source)
                there = below if self.target_name == "wheel" else Path("src", below)
                build_data["force_include"][str(made)] = str(there)
