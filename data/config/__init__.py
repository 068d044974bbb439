"""Settings: read from `understudy.toml` and the environment, and checked.

- `messages`: error messages for settings
- `settings`: the settings, from `understudy.toml` and the environment, checked at start
"""
