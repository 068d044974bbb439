"""Who people are to the store: roles, API keys, and consent to learning.

- `consent`: whether what a person writes may be learned from, and what names a person
- `keys`: aPI keys: who may ask over HTTP, and as what
- `roles`: roles that were granted by a command
"""
