"""A plugin of pytest for runs that must fail: the first failing example ends the test and is not made smaller."""

from hypothesis import Phase, settings

settings.register_profile("hasty", phases=(Phase.explicit, Phase.generate))
settings.load_profile("hasty")
