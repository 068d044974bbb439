"""What the store keeps of a person: to see, to trace and to erase.

- `contributions`: what became of what a person taught: from a correction to the adapter that has
  learned it
- `erasure`: forgetting a person: their words leave the store, in steps that can be taken up again
- `personal_data`: what the store keeps of a person: `see` in figures, `export` with every word
- `provenance`: what adapters, runs and reports keep of the words they learned from: which they are,
  and how words are taken out of what they keep
"""
