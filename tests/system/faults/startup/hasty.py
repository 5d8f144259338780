"""A plugin of pytest for runs that are to go red: the first example that fails will do, and is not made smaller."""

from hypothesis import Phase, settings

settings.register_profile("hasty", phases=(Phase.explicit, Phase.generate))
settings.load_profile("hasty")
