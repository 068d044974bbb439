"""Settings: read from `understudy.toml` and the environment, and checked.

- `messages`: what is wrong with settings, in words that a person would use
- `settings`: settings: `understudy.toml`, overridden by the environment, checked once at start
"""
