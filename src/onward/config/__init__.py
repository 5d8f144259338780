"""The settings: settings.toml and the environment, read and checked."""
