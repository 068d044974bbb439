"""The reference pages in `docs/`, generated from the code. `make docs` writes them.

Each page but `openapi.json` has a template with the placeholder `{{reference}}`, which is replaced
by the generated part. `tests/tools/test_reference.py` fails with a diff if a page is out of date.

- `cli`: the commands and options of the command line, from click
- `http`: the HTTP API, from the application's routes and their OpenAPI schema
- `markdown`: formats tables, code and headings
- `openapi`: the OpenAPI document of the HTTP API, for client generators and fuzzers
- `pages`: the list of pages; renders each one from its template
- `settings`: the settings, from their pydantic models
- `slack_commands`: the commands after `/understudy` in Slack
"""
