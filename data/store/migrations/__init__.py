"""The schema, as numbered migrations that are only ever appended: one file each, `mNNN_name.py`.

A new migration is a new file with a function `upgrade(db)`. Its name is what the store remembers,
so it never changes once released.

- `script`: runs several SQL statements

The tables:

    domains ─┬─ domain_channels            the Slack channels that a domain answers in
             ├─ domain_calibrations        from which confidence on it answers
             ├─ pairs ─┬─ dataset_pairs ── datasets
             │         ├─ quality_fixes    what a quality check changed, so that it can be undone
             │         ├─ quality_marks    what the last check found in it
             │         ├─ bulk_reviews     decisions on many pairs, so that they can be undone
             │         └─ masked_words     private words of a pair that waits for review
             ├─ quality_checked            when the pairs were checked last
             ├─ allowed_words              contact data that is not masked
             ├─ trigger_rules              when a domain retrains by itself
             ├─ runs ─┬─ run_points        the loss curve
             │        ├─ run_judgements    the rated replies that preference tuning learns from
             │        ├─ triggered_runs    what triggered the run, and what became of it
             │        ├─ trials            the trials of a search
             │        └─ run_watchers      the Slack messages that follow the run
             ├─ adapters ─┬─ placements    what each replica holds
             │            └─ promotions    what was live, and when
             ├─ experiments ─┬─ variants ─┬─ assignments   the variant that each person saw first
             │               │            └─ ratings       each person's rating totals
             │               ├─ stages                     the shares, and since when
             │               ├─ testers                    people with a chosen variant, not counted
             │               ├─ pairings                   two blinded replies to one question
             │               └─ decisions                  with the numbers they were made from
             ├─ experiment_policies                        the policy and the holdout of a domain
             ├─ voters, tallies                            raters, and how each of them rates
             └─ conversations ── messages
                              └─ replies ─┬─ feedback
                                          ├─ reply_sources   the pairs an answer rests on
                                          └─ unanswered      questions that were declined

    replicas                               engines: their state, sizes and last heartbeat
    questions                              Slack's questions that are not answered yet
    marks ── replies                       reactions: buttons and emoji; the newest is the thumb
    pair_words ── pairs                    the people whose words a pair holds
    pair_vectors ── pairs                  what an encoder made of the words of a pair
    pair_search, other_pair_search         the words of approved pairs, and of the others (FTS5)
    search_changes                         the pairs that changed, for indexes in memory
    opt_outs, forgettings                  people who opted out; erasures that are under way
    domain_choices                         the domain that a person chose
    deeds                                  queued commands, until their result is delivered
    deliveries                             events that were received, so that each counts once
    roles                                  granted reviewers and admins
    joined_identities                      other ids of a person
    sign_in_links, console_sessions        how people sign in to the console, and where they are
    erased_people                          pseudonyms that recognise who comes back
    store_secret                           the key of digests that only this store can compute
    review_leases                          the reviewer who is looking at a pending pair
    imports                                what one file brought, which can be undone together
    judged_answers, run_judged_answers     rated answers from files, and the runs that learn them
    slack_installations                    workspaces that installed the bot, with their tokens
    slack_problems                         tokens and channels that Slack refuses
    slack_channels                         where the bot answers everything or nothing
    reply_parts                            the messages of a long answer before its last one
    api_keys                               digests of the keys for the HTTP API
    audit                                  who did what, and when
    web_allowances                         how much an address may still ask in the web chat
    lease_clock                            what leases add to the time since the machine started

`replies` is narrow, because it is counted often; the words are in `messages`. `ratings` changes in
the same transaction as the feedback that it sums up, so results never scan replies. Exactly one
adapter of a domain is `live`, one experiment and one run of a domain are open, and one piece of
feedback counts per person, reply and kind: partial unique indexes guarantee all four.
"""

import importlib
import pkgutil

from sqlite_utils import Migrations

migrations = Migrations("understudy")

for _name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if _name[1:4].isdigit():
        migrations(name=_name)(importlib.import_module(f"{__name__}.{_name}").upgrade)
