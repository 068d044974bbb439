"""The reference pages in `docs/`, generated from the code: `make docs` writes them.

Each page is a template with the mark `{{reference}}`, which the generated part replaces.
`tests/tools/test_reference.py` fails with a diff when a page is out of date.

- `cli`: the commands and options of the command line, from click
- `http`: the HTTP API, from the application's routes and their OpenAPI schema
- `markdown`: tables, code and headings
- `pages`: the list of pages, and how one is put together from its template
- `settings`: the settings, from their pydantic models
- `slack_commands`: what can be typed after `/understudy` in Slack
"""
