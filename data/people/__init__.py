"""People: their ids, roles, API keys, and whether the bot may learn from what they write.

- `consent`: whether a person's words may be learned, and the format of a person's id
- `figures`: a person's figures in comparisons, also after an erasure
- `identities`: the kinds of identity, which of them are verified, and the one spelling of an id
- `joining`: a web sign-in of a Slack member is the same person
- `keys`: API keys
- `roles`: roles that an admin granted
"""
