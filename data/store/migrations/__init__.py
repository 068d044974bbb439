"""The schema, as numbered migrations that are only ever appended: one file each, `mNNN_name.py`.

A new migration is a new file with a function `upgrade(db)`. Its name is what the store remembers,
so it never changes once released.

- `script`: runs several SQL statements

How the tables hang together:

    domains ─┬─ domain_channels            which Slack channels speak to which domain
             ├─ pairs ── dataset_pairs ── datasets
             ├─ runs ─┬─ run_points        the loss curve
             │        ├─ run_judgements    the rated answers that a run on thumbs learns from
             │        └─ run_watchers      Slack messages that follow the run
             ├─ adapters ── placements     what each engine replica holds
             ├─ experiments ─┬─ variants ─┬─ assignments   who saw which variant first
             │               │            └─ ratings       per person, what the results read
             │               ├─ stages                     what shares there were, since when
             │               ├─ testers                    who chose their variant themselves
             │               ├─ pairings                   two blinded answers to one question
             │               └─ decisions                  with the numbers that made them
             ├─ experiment_policies                        what may be decided without a person
             ├─ voters, tallies                            how each person votes
             └─ conversations ── messages
                              └─ replies ── feedback

    questions                              what Slack's people asked and is not answered yet
    marks ── replies                       buttons and emoji, of which the newest is the thumb
    pair_words ── pairs                    whose words they are
    opt_outs, forgettings                  what people decided about their data
    domain_choices                         which domain answers a person where no channel says
    deeds                                  Slack's commands and clicks, until they are told
    roles                                  who was made a reviewer or an admin
    review_leases                          who is looking at which pending pair
    slack_installations                    the workspaces that installed the bot, with their tokens

`replies` is narrow, because it is counted; the words are in `messages`. `ratings` is kept in the
same transaction as the feedback it sums up, so results never scan replies. Exactly one adapter of
a domain is `live`, one experiment and one run of a domain are open, one judgement per person,
reply and kind counts: partial unique indexes hold all four.
"""

import importlib
import pkgutil

from sqlite_utils import Migrations

migrations = Migrations("understudy")

for _name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if _name[1:4].isdigit():
        migrations(name=_name)(importlib.import_module(f"{__name__}.{_name}").upgrade)
