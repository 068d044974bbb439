"""The sections of `understudy.toml`, one module each, and what their fields share.

- `answers`: `[answers]`: where answers come from
- `base_model`: `[base]`: the base model
- `bot`: `[bot]`: the HTTP service, and how it requests answers
- `fields`: what a section is, and the types that fields of several sections have
- `gate`: `[gate]`: the checks that a new adapter must pass
- `oidc`: `[oidc]`: signing in to the console with an OpenID provider
- `search`: `[search]`: how the pairs that bear on a question are found
- `serving`: `[serving]`: the engines
- `slack`: `[slack]`: the Slack front end
- `tuning`: `[tuning]`: how adapters are trained
"""
