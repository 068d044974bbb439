"""Settings: read from `understudy.toml` and the environment, and checked.

- `base_precision`: in which precision the base model is served, and so trained on
- `environment`: settings from the environment
- `messages`: error messages for settings
- `sections`: the sections of the settings file, one module each
- `settings`: the settings, from `understudy.toml` and the environment, checked at start
- `settings_overview`: all settings as they are, each with what set it
"""
