"""People: their ids, roles, API keys, and whether the bot may learn from what they write.

- `console_sessions`: the browsers in which people are signed in to the console
- `consent`: whether a person's words may be learned, and the format of a person's id
- `figures`: a person's figures in comparisons, also after an erasure
- `identities`: the kinds of identity, which of them are verified, and the one spelling of an id
- `joining`: a web sign-in of a Slack member is the same person
- `keys`: API keys
- `roles`: roles that an admin granted
- `sign_in_links`: links that sign one person in to the console, once
"""
