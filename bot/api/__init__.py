"""HTTP: the OpenAI-compatible API and the admin routes, each file one noun of `/v1`.

`completions.py` is a bare ASGI route, because an answer's status must wait for the engine's first
word and a caller who leaves must stop it; `relay.py` holds that machinery, `problems.py` turns
every error into OpenAI's shape. The rest are ordinary FastAPI routers.
"""
