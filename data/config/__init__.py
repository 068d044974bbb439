"""Settings: read from `understudy.toml` and the environment, and checked.

- `base_precision`: in which precision the base model is served, and so trained on
- `messages`: error messages for settings
- `settings`: the settings, from `understudy.toml` and the environment, checked at start
"""
