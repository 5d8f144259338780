"""Build the explorer with the wheel and the sdist, so that an installed package needs neither npm nor a network."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ExplorerHook(BuildHookInterface[Any]):
    """Adds the finished explorer to what is built. HATCH_BUILD_NO_HOOKS=true builds without it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the explorer unless it is up to date, as in an sdist; an editable install goes without."""
        if version == "editable":
            return
        source = Path(self.root, "src")
        sys.path.insert(0, str(source))
        from onward.web import build  # noqa: PLC0415 - found only now
        from onward.web.base import BuildFailed  # noqa: PLC0415

        try:
            build.build()
        except BuildFailed as error:
            self.app.abort(
                f"onward: the explorer cannot be built: {error}\n"
                "HATCH_BUILD_NO_HOOKS=true builds the package without it; its page then comes from a public CDN"
            )
        built = build.current()
        if built is None:
            self.app.abort("onward: the explorer's build left nothing behind")
            return
        for made in (build.OUTPUT / "current.json", build.OUTPUT / built.stamp):
            below = made.relative_to(source)
            build_data["force_include"][str(made)] = str(below if self.target_name == "wheel" else Path("src", below))
