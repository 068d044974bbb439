"""The schema, as numbered steps that are only ever appended.

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

from sqlite_utils import Database, Migrations

migrations = Migrations("understudy")


def _run(db: Database, script: str) -> None:
    """Run `;`-separated statements inside the transaction that is open."""
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)


@migrations()
def m001_domains_and_pairs(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE domains (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            system_prompt TEXT NOT NULL DEFAULT '',
            suggested_prompts TEXT NOT NULL DEFAULT '[]',   -- JSON list of questions
            validation_share REAL NOT NULL DEFAULT 0.1 CHECK (validation_share BETWEEN 0 AND 0.5),
            is_default INTEGER NOT NULL DEFAULT 0,
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX one_default_domain ON domains (is_default) WHERE is_default = 1;

        CREATE TABLE domain_channels (
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            PRIMARY KEY (team, channel)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE pairs (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            prompt TEXT NOT NULL,
            response TEXT NOT NULL,
            system TEXT NOT NULL DEFAULT '',                -- '' means: the domain's own
            turns TEXT NOT NULL DEFAULT '[]',               -- earlier turns, [{role, content}]
            fact TEXT NOT NULL,                             -- paraphrases of one fact share it
            split TEXT NOT NULL DEFAULT 'auto'
                CHECK (split IN ('auto', 'train', 'validation', 'golden')),
            source TEXT NOT NULL,                           -- import, correction, teach, docs, ...
            source_ref TEXT NOT NULL DEFAULT '',            -- file:line, reply id, ...
            author TEXT NOT NULL DEFAULT '',                -- a person, or ''
            status TEXT NOT NULL
                CHECK (status IN ('pending', 'approved', 'rejected', 'quarantined')),
            fingerprint TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            reviewed_at INTEGER,
            reviewed_by TEXT NOT NULL DEFAULT ''
        ) STRICT;
        CREATE UNIQUE INDEX pairs_once ON pairs (domain_id, fingerprint);
        CREATE INDEX pairs_by_status ON pairs (domain_id, status, id);
        CREATE INDEX pairs_by_author ON pairs (author) WHERE author <> '';

        CREATE TABLE datasets (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            sha256 TEXT NOT NULL,
            train INTEGER NOT NULL,
            validation INTEGER NOT NULL,
            probe INTEGER NOT NULL,
            golden INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            UNIQUE (domain_id, sha256)
        ) STRICT;

        CREATE TABLE dataset_pairs (
            dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
            pair_id INTEGER NOT NULL REFERENCES pairs (id),
            split TEXT NOT NULL CHECK (split IN ('train', 'validation', 'probe', 'golden')),
            PRIMARY KEY (dataset_id, pair_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX dataset_pairs_by_pair ON dataset_pairs (pair_id)
        """,
    )


@migrations()
def m002_runs_and_adapters(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE adapters (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            version INTEGER NOT NULL CHECK (version > 0),
            sha256 TEXT NOT NULL,
            path TEXT NOT NULL,                             -- relative to the home folder
            base_model TEXT NOT NULL,
            rank INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            recipe TEXT NOT NULL,                           -- JSON
            scores TEXT NOT NULL DEFAULT '{}',              -- JSON
            dataset_id INTEGER REFERENCES datasets (id),
            parent_id INTEGER REFERENCES adapters (id),
            run_id INTEGER,
            state TEXT NOT NULL CHECK (state IN ('candidate', 'live', 'retired', 'rejected')),
            state_reason TEXT NOT NULL DEFAULT '',
            created_at INTEGER NOT NULL,
            live_at INTEGER,                                -- when it last became live
            UNIQUE (domain_id, version)
        ) STRICT;
        CREATE UNIQUE INDEX one_live_adapter ON adapters (domain_id) WHERE state = 'live';

        CREATE TABLE promotions (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            adapter_id INTEGER REFERENCES adapters (id),    -- NULL: the bare base
            previous_id INTEGER REFERENCES adapters (id),
            kind TEXT NOT NULL CHECK (kind IN ('promote', 'rollback')),
            actor TEXT NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX promotions_by_domain ON promotions (domain_id, id);

        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
            state TEXT NOT NULL
                CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            recipe TEXT NOT NULL DEFAULT '{}',              -- JSON: what was asked to differ
            dataset_id INTEGER REFERENCES datasets (id),
            parent_id INTEGER REFERENCES adapters (id),
            adapter_id INTEGER REFERENCES adapters (id),    -- the result
            requested_by TEXT NOT NULL,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            worker TEXT NOT NULL DEFAULT '',
            phase TEXT NOT NULL DEFAULT 'waiting for a worker',
            step INTEGER NOT NULL DEFAULT 0,
            total_steps INTEGER NOT NULL DEFAULT 0,
            loss REAL,
            validation_loss REAL,
            eta_s REAL,
            error TEXT NOT NULL DEFAULT '',
            queued_at INTEGER NOT NULL,
            started_at INTEGER,
            heartbeat_at INTEGER,
            finished_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_open_run ON runs (domain_id) WHERE state IN ('queued', 'running');
        CREATE INDEX runs_by_state ON runs (state, id);

        CREATE TABLE run_points (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            step INTEGER NOT NULL,
            loss REAL,
            validation_loss REAL,
            learning_rate REAL,
            at INTEGER NOT NULL,
            PRIMARY KEY (run_id, step)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE run_watchers (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            ts TEXT NOT NULL,
            finished INTEGER NOT NULL DEFAULT 0,            -- the final state was shown
            PRIMARY KEY (run_id, channel, ts)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE replicas (
            name TEXT PRIMARY KEY,
            url TEXT NOT NULL,
            base_model TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('starting', 'ready', 'down')),
            detail TEXT NOT NULL DEFAULT '',
            generation INTEGER NOT NULL DEFAULT 0,          -- counts the engine's starts
            heartbeat_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE placements (
            replica TEXT NOT NULL REFERENCES replicas (name) ON DELETE CASCADE,
            adapter_id INTEGER NOT NULL REFERENCES adapters (id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('loaded', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            load_ms REAL,
            error TEXT NOT NULL DEFAULT '',
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (replica, adapter_id)
        ) STRICT, WITHOUT ROWID
        """,
    )


@migrations()
def m003_experiments(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE experiments (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            salt TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'stopped')),
            started_by TEXT NOT NULL,
            started_at INTEGER NOT NULL,
            stopped_by TEXT NOT NULL DEFAULT '',
            stopped_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_running_experiment ON experiments (domain_id)
            WHERE state = 'running';

        CREATE TABLE variants (
            id INTEGER PRIMARY KEY,
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            label TEXT NOT NULL,                            -- 'A' is the control
            adapter_id INTEGER REFERENCES adapters (id),    -- NULL: the bare base
            share REAL NOT NULL CHECK (share > 0 AND share < 1),
            system_prompt TEXT,                             -- NULL: the domain's own
            sampling TEXT NOT NULL DEFAULT '{}',            -- JSON overrides
            UNIQUE (experiment_id, label)
        ) STRICT;

        CREATE TABLE assignments (
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            variant_id INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            at INTEGER NOT NULL,
            PRIMARY KEY (experiment_id, person)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX assignments_by_variant ON assignments (variant_id);

        CREATE TABLE ratings (
            variant_id INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            up INTEGER NOT NULL DEFAULT 0,                  -- live thumbs up
            down INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (variant_id, person)
        ) STRICT, WITHOUT ROWID
        """,
    )


@migrations()
def m004_conversations_and_feedback(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE conversations (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            thread TEXT NOT NULL UNIQUE,                    -- slack:T1/C1/ts, web:..., http:...
            person TEXT NOT NULL,                           -- who began it
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX conversations_by_person ON conversations (person);

        CREATE TABLE replies (
            id TEXT PRIMARY KEY,
            conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            person TEXT NOT NULL,                           -- who asked
            adapter_id INTEGER REFERENCES adapters (id),    -- NULL: the bare base
            variant_id INTEGER REFERENCES variants (id),
            status TEXT NOT NULL
                CHECK (status IN ('streaming', 'done', 'partial', 'cancelled', 'failed')),
            finish_reason TEXT NOT NULL DEFAULT '',
            prompt_tokens INTEGER NOT NULL DEFAULT 0,
            completion_tokens INTEGER NOT NULL DEFAULT 0,
            first_token_us INTEGER,
            latency_us INTEGER,
            error TEXT NOT NULL DEFAULT '',
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX replies_by_person ON replies (person, created_at);
        CREATE INDEX replies_by_variant ON replies (variant_id) WHERE variant_id IS NOT NULL;
        CREATE INDEX replies_by_adapter ON replies (adapter_id, created_at);
        CREATE INDEX replies_by_conversation ON replies (conversation_id);
        CREATE INDEX replies_open ON replies (id) WHERE status = 'streaming';

        CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            text TEXT NOT NULL,
            person TEXT NOT NULL DEFAULT '',                -- the author of a user's message
            reply_id TEXT REFERENCES replies (id) ON DELETE CASCADE,
            external_id TEXT NOT NULL DEFAULT '',           -- the front end's own id, Slack's ts
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
        CREATE INDEX messages_by_reply ON messages (reply_id) WHERE reply_id IS NOT NULL;
        CREATE INDEX messages_by_external ON messages (external_id) WHERE external_id <> '';
        CREATE INDEX messages_by_person ON messages (person) WHERE person <> '';

        CREATE TABLE feedback (
            id INTEGER PRIMARY KEY,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('thumb', 'reason', 'correction')),
            value REAL,                                     -- thumb: 1 up, 0 down
            text TEXT NOT NULL DEFAULT '',
            pair_id INTEGER REFERENCES pairs (id),          -- the pair a correction became
            live INTEGER NOT NULL DEFAULT 1,
            created_at INTEGER NOT NULL,
            superseded_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_live_judgement ON feedback (reply_id, person, kind)
            WHERE live = 1;
        CREATE INDEX feedback_by_person ON feedback (person);

        CREATE TABLE deliveries (
            source TEXT NOT NULL,                           -- slack:event, slack:message, ...
            key TEXT NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (source, key)
        ) STRICT, WITHOUT ROWID
        """,
    )


@migrations()
def m005_keys_and_audit(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE api_keys (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('member', 'reviewer', 'admin')),
            prefix TEXT NOT NULL,                           -- shown, to recognise a key
            sha256 TEXT NOT NULL UNIQUE,
            created_at INTEGER NOT NULL,
            revoked_at INTEGER
        ) STRICT;

        CREATE TABLE audit (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL DEFAULT '{}'               -- JSON
        ) STRICT;
        CREATE INDEX audit_by_subject ON audit (subject, id)
        """,
    )


@migrations()
def m006_serving(db: Database) -> None:
    """What replicas and placements say is of the engines' present lives: both begin anew."""
    _run(
        db,
        """
        DROP TABLE placements;
        DROP TABLE replicas;
        CREATE TABLE replicas (
            name TEXT PRIMARY KEY,
            url TEXT NOT NULL,
            base_model TEXT NOT NULL,
            precision TEXT NOT NULL DEFAULT '',             -- of the base's weights: bfloat16, nf4
            state TEXT NOT NULL
                CHECK (state IN ('starting', 'ready', 'draining', 'asleep', 'down')),
            detail TEXT NOT NULL DEFAULT '',
            generation INTEGER NOT NULL DEFAULT 0,          -- counts the engine's starts
            max_loras INTEGER NOT NULL DEFAULT 0,           -- as it was started, 0: unknown
            max_cpu_loras INTEGER NOT NULL DEFAULT 0,
            max_rank INTEGER NOT NULL DEFAULT 0,
            restart_asked_at INTEGER,                       -- NULL: nobody asks for a restart
            restart_asked_by TEXT NOT NULL DEFAULT '',
            heartbeat_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- A row is also a lease on the adapter's files: it is there from before an engine is told
        -- to load them until after it has dropped them.
        CREATE TABLE placements (
            replica TEXT NOT NULL REFERENCES replicas (name) ON DELETE CASCADE,
            adapter_id INTEGER NOT NULL REFERENCES adapters (id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('loading', 'loaded', 'draining', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            load_ms REAL,
            agreement REAL,                                 -- of its canaries, NULL: it has none
            error TEXT NOT NULL DEFAULT '',
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (replica, adapter_id)
        ) STRICT, WITHOUT ROWID;

        -- JSON: [{pair_id, prompt, answer, logprob}], tokens that training's end recorded
        ALTER TABLE adapters ADD COLUMN canaries TEXT NOT NULL DEFAULT '[]';
        ALTER TABLE adapters ADD COLUMN removed_at INTEGER;          -- when its files were deleted

        ALTER TABLE replies ADD COLUMN replica TEXT NOT NULL DEFAULT '';
        ALTER TABLE replies ADD COLUMN precision TEXT NOT NULL DEFAULT '';  -- the replica's
        -- the adapter that should have answered and could not
        ALTER TABLE replies ADD COLUMN instead_of INTEGER REFERENCES adapters (id);
        CREATE INDEX replies_streaming ON replies (replica, adapter_id) WHERE status = 'streaming'
        """,
    )


@migrations()
def m007_questions(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE questions (
            id INTEGER PRIMARY KEY,
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            ts TEXT NOT NULL,
            thread_ts TEXT NOT NULL,
            user TEXT NOT NULL,
            text TEXT NOT NULL,                             -- removed when it is answered
            response_url TEXT NOT NULL DEFAULT '',          -- of a command, whose answer is private
            withdrawn INTEGER NOT NULL DEFAULT 0,           -- its message was deleted
            state TEXT NOT NULL DEFAULT 'waiting'
                CHECK (state IN ('waiting', 'answering', 'done')),
            worker TEXT NOT NULL DEFAULT '',
            generation INTEGER NOT NULL DEFAULT 0,          -- fences attempts that lost it
            attempts INTEGER NOT NULL DEFAULT 0,            -- whose worker was lost
            lease_until INTEGER NOT NULL DEFAULT 0,
            not_before INTEGER NOT NULL DEFAULT 0,
            reply_id TEXT NOT NULL DEFAULT '',              -- of the latest attempt
            begun INTEGER NOT NULL DEFAULT 0,               -- something may be shown
            shown_ts TEXT NOT NULL DEFAULT '',              -- the message that shows it
            created_at INTEGER NOT NULL,
            finished_at INTEGER,
            UNIQUE (team, channel, ts)
        ) STRICT;
        CREATE INDEX questions_open ON questions (team, channel, thread_ts, id)
            WHERE state IN ('waiting', 'answering');
        CREATE INDEX questions_done ON questions (finished_at) WHERE state = 'done'
        """,
    )


@migrations()
def m008_removals(db: Database) -> None:
    """An adapter whose files are to be deleted, as soon as no engine holds it."""
    _run(db, "ALTER TABLE adapters ADD COLUMN removal_asked_at INTEGER")


@migrations()
def m009_stand_ins(db: Database) -> None:
    """Answers by stand-ins are few, and counted whenever somebody looks at the state."""
    _run(
        db,
        "CREATE INDEX replies_by_stand_in ON replies (created_at) WHERE instead_of IS NOT NULL",
    )


@migrations()
def m010_follow_ups_choices_and_workspaces(db: Database) -> None:
    """Answers that are written anew or gone on with, the domain that a person chose, and the Slack
    workspaces that installed the bot."""
    _run(
        db,
        """
        ALTER TABLE replies ADD COLUMN again_of TEXT REFERENCES replies (id) ON DELETE SET NULL;
        ALTER TABLE replies ADD COLUMN continues TEXT REFERENCES replies (id) ON DELETE SET NULL;
        CREATE INDEX replies_anew ON replies (again_of) WHERE again_of IS NOT NULL;
        CREATE INDEX replies_continued ON replies (continues) WHERE continues IS NOT NULL;

        ALTER TABLE questions ADD COLUMN asked_ts TEXT NOT NULL DEFAULT '';  -- of what was asked
        ALTER TABLE questions ADD COLUMN again_of TEXT NOT NULL DEFAULT '';  -- a reply's id
        ALTER TABLE questions ADD COLUMN continues TEXT NOT NULL DEFAULT ''; -- a reply's id
        UPDATE questions SET asked_ts = ts;
        CREATE INDEX questions_asked ON questions (team, channel, asked_ts)
            WHERE state IN ('waiting', 'answering');

        CREATE TABLE domain_choices (
            person TEXT PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE slack_installations (
            team TEXT PRIMARY KEY,
            name TEXT NOT NULL,                             -- of the workspace
            bot_user TEXT NOT NULL,
            bot_id TEXT NOT NULL,
            token TEXT NOT NULL,                            -- encrypted with [slack] token_key
            installed_by TEXT NOT NULL,                     -- a user id
            installed_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
    )


@migrations()
def m011_honest_comparisons(db: Database) -> None:
    """More kinds of judgement, votes that count and votes that do not, stages, decisions."""
    _run(
        db,
        """
        CREATE TABLE new_feedback (
            id INTEGER PRIMARY KEY,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            kind TEXT NOT NULL
                CHECK (kind IN ('thumb', 'reason', 'correction', 'pairwise', 'follow_up')),
            -- thumb: 1 up, 0 down. follow_up: 1 it helped. pairwise: 1 the first of the pairing is
            -- better, 0.5 a tie, 0 the second, and reply_id is the first
            value REAL,
            text TEXT NOT NULL DEFAULT '',
            pair_id INTEGER REFERENCES pairs (id),          -- the pair a correction became
            live INTEGER NOT NULL DEFAULT 1,
            counts INTEGER NOT NULL DEFAULT 1,              -- 0: stored and shown, not counted
            over_cap INTEGER NOT NULL DEFAULT 0,            -- beyond the person's share of the day
            created_at INTEGER NOT NULL,
            superseded_at INTEGER
        ) STRICT;
        INSERT INTO new_feedback
            (id, reply_id, person, kind, value, text, pair_id, live, created_at, superseded_at)
            SELECT id, reply_id, person, kind, value, text, pair_id, live, created_at, superseded_at
            FROM feedback;
        DROP TABLE feedback;
        ALTER TABLE new_feedback RENAME TO feedback;
        CREATE UNIQUE INDEX one_live_judgement ON feedback (reply_id, person, kind)
            WHERE live = 1;
        CREATE INDEX feedback_by_person ON feedback (person, created_at);

        -- how each person voted on the answers of each adapter and variant: live thumbs within the
        -- daily cap, those of quarantined voters too
        CREATE TABLE tallies (
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            adapter_id INTEGER NOT NULL,                    -- 0: the bare base
            variant_id INTEGER NOT NULL,                    -- 0: in no comparison
            person TEXT NOT NULL,
            up INTEGER NOT NULL DEFAULT 0,
            down INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (domain_id, adapter_id, variant_id, person)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX tallies_by_person ON tallies (person);
        INSERT INTO tallies
            SELECT r.domain_id, coalesce(r.adapter_id, 0), coalesce(r.variant_id, 0), f.person,
                   sum(f.value = 1), sum(f.value = 0)
            FROM feedback f JOIN replies r ON r.id = f.reply_id
            WHERE f.kind = 'thumb' AND f.live = 1 GROUP BY 1, 2, 3, 4;

        CREATE TABLE voters (
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('quarantined', 'released')),
            rule TEXT NOT NULL,                             -- same_button, outlier, by_hand
            why TEXT NOT NULL,                              -- a sentence, with the numbers
            changed_by TEXT NOT NULL,                       -- a person, or '' for the test itself
            changed_at INTEGER NOT NULL,
            PRIMARY KEY (domain_id, person)
        ) STRICT, WITHOUT ROWID;

        ALTER TABLE experiments ADD COLUMN pairwise REAL NOT NULL DEFAULT 0;  -- share of questions
        ALTER TABLE experiments ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';  -- JSON, as it began
        -- the least share of a variant when shares follow the results, 0: they do not
        ALTER TABLE experiments ADD COLUMN adaptive REAL NOT NULL DEFAULT 0;
        -- the experiment whose candidates' people are left out of this one
        ALTER TABLE experiments ADD COLUMN excludes INTEGER REFERENCES experiments (id);

        CREATE TABLE stages (
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,                        -- from 1
            shares TEXT NOT NULL,                           -- JSON: label -> share of the people
            started_by TEXT NOT NULL,
            started_at INTEGER NOT NULL,
            PRIMARY KEY (experiment_id, number)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO stages
            SELECT e.id, 1, json_group_object(v.label, v.share), e.started_by, e.started_at
            FROM experiments e JOIN variants v ON v.experiment_id = e.id GROUP BY e.id;

        ALTER TABLE assignments ADD COLUMN stage INTEGER NOT NULL DEFAULT 1;  -- of the exposure
        ALTER TABLE assignments ADD COLUMN tester INTEGER NOT NULL DEFAULT 0; -- in no statistic

        CREATE TABLE testers (
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            variant_id INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            PRIMARY KEY (experiment_id, person)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE pairings (
            id INTEGER PRIMARY KEY,
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            first_reply TEXT NOT NULL UNIQUE REFERENCES replies (id) ON DELETE CASCADE,
            second_reply TEXT NOT NULL UNIQUE REFERENCES replies (id) ON DELETE CASCADE,
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX pairings_by_experiment ON pairings (experiment_id);
        CREATE INDEX pairings_by_person ON pairings (person);

        CREATE TABLE experiment_policies (
            domain_id INTEGER PRIMARY KEY REFERENCES domains (id) ON DELETE CASCADE,
            policy TEXT NOT NULL DEFAULT 'advise'
                CHECK (policy IN ('advise', 'auto-promote', 'auto-roll-back', 'auto')),
            holdout REAL NOT NULL DEFAULT 0 CHECK (holdout BETWEEN 0 AND 0.5),
            holdout_salt TEXT NOT NULL
        ) STRICT;

        CREATE TABLE decisions (
            id INTEGER PRIMARY KEY,
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            at INTEGER NOT NULL,
            policy TEXT NOT NULL,
            state TEXT NOT NULL,                            -- of the results
            variant TEXT NOT NULL DEFAULT '',               -- the label it is about
            action TEXT NOT NULL CHECK (action IN ('hold', 'advise', 'promote', 'roll back')),
            sentence TEXT NOT NULL,
            evidence TEXT NOT NULL,                         -- JSON: all that the results came from
            terms TEXT NOT NULL,                            -- JSON
            results TEXT NOT NULL                           -- JSON
        ) STRICT;
        CREATE INDEX decisions_by_experiment ON decisions (experiment_id, id)
        """,
    )


@migrations()
def m012_deeds_roles_and_reviews(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE deeds (
            id INTEGER PRIMARY KEY,
            team TEXT NOT NULL,
            key TEXT NOT NULL,                              -- Slack's id of the command or click
            channel TEXT NOT NULL,
            thread_ts TEXT NOT NULL,
            user TEXT NOT NULL,
            command TEXT NOT NULL,                          -- as it was typed
            how TEXT NOT NULL CHECK (how IN ('private', 'thread', 'channel')),
            response_url TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'told')),
            said TEXT NOT NULL DEFAULT '[]',                -- JSON: the outcome, as blocks
            run_id INTEGER REFERENCES runs (id) ON DELETE SET NULL,  -- that the message follows
            begun INTEGER NOT NULL DEFAULT 0,               -- the outcome may be posted
            created_at INTEGER NOT NULL,
            touched_at INTEGER NOT NULL DEFAULT 0,
            UNIQUE (team, key)
        ) STRICT;
        CREATE INDEX deeds_unfinished ON deeds (team, id) WHERE state <> 'told';
        CREATE INDEX deeds_told ON deeds (touched_at) WHERE state = 'told';

        CREATE TABLE roles (
            person TEXT PRIMARY KEY,
            role TEXT NOT NULL CHECK (role IN ('reviewer', 'admin')),
            granted_by TEXT NOT NULL,
            granted_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE review_leases (
            pair_id INTEGER PRIMARY KEY REFERENCES pairs (id) ON DELETE CASCADE,
            reviewer TEXT NOT NULL,
            until INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX review_leases_by_reviewer ON review_leases (reviewer);

        ALTER TABLE pairs ADD COLUMN review_reason TEXT NOT NULL DEFAULT '';
        CREATE INDEX pairs_reviewed ON pairs (reviewed_at) WHERE reviewed_at IS NOT NULL;

        -- the loss curve was uploaded below the message, or may have been
        ALTER TABLE run_watchers ADD COLUMN curve INTEGER NOT NULL DEFAULT 0
        """,
    )


@migrations()
def m013_privacy(db: Database) -> None:
    """Whose words a pair holds, who does not want to be learned from, who is being forgotten, and
    the marks that people leave on answers."""
    _run(
        db,
        """
        ALTER TABLE pairs ADD COLUMN forgotten_at INTEGER;  -- its words are gone: a dataset's hole

        -- people whose words are in a pair, beside its author and who asked for its reply
        CREATE TABLE pair_words (
            person TEXT NOT NULL,
            pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
            PRIMARY KEY (person, pair_id)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE opt_outs (                             -- of learning
            person TEXT PRIMARY KEY,
            at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE forgettings (                          -- that have not come to their end
            receipt TEXT PRIMARY KEY,
            person TEXT NOT NULL UNIQUE,
            pseudonym TEXT NOT NULL,                        -- under which counts stay
            actor TEXT NOT NULL,                            -- of the audit entry
            counts TEXT NOT NULL DEFAULT '{}',              -- JSON: what was removed so far
            adapters TEXT NOT NULL DEFAULT '[]',            -- JSON: trained on what was removed
            asked_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- buttons and emoji under an answer: the newest that stands is the person's thumb
        CREATE TABLE marks (
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            mark TEXT NOT NULL,                             -- button, +1, -1::skin-tone-2, ...
            up INTEGER NOT NULL,
            standing INTEGER NOT NULL,                      -- 0: taken back
            at INTEGER NOT NULL,                            -- when the person did it, not we heard
            PRIMARY KEY (reply_id, person, mark)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX marks_by_person ON marks (person)
        """,
    )


@migrations()
def m014_evaluating(db: Database) -> None:
    """An adapter is registered before it is evaluated, because the engine that will serve it gives
    the answers. A CHECK can only be changed in the schema's text, as
    https://sqlite.org/lang_altertable.html describes; no row is touched."""
    db.execute("PRAGMA writable_schema = ON")
    db.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'IN (''candidate'', ''live''', "
        "'IN (''evaluating'', ''candidate'', ''live''') WHERE type = 'table' AND name = 'adapters'"
    )
    db.execute("PRAGMA writable_schema = RESET")
    _run(
        db,
        """
        -- JSON as `canaries`: whole greedy answers of the trainer
        ALTER TABLE adapters ADD COLUMN probes TEXT NOT NULL DEFAULT '[]';
        -- share of the probes' tokens on which an engine agrees, NULL: not asked
        ALTER TABLE placements ADD COLUMN parity REAL
        """,
    )


@migrations()
def m015_preferences(db: Database) -> None:
    """Runs that learn from thumbs, and from which."""
    _run(
        db,
        """
        ALTER TABLE runs ADD COLUMN learns TEXT NOT NULL DEFAULT 'pairs'
            CHECK (learns IN ('pairs', 'preferences'));

        CREATE TABLE run_judgements (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            liked INTEGER NOT NULL,
            PRIMARY KEY (run_id, reply_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX run_judgements_by_reply ON run_judgements (reply_id)
        """,
    )


@migrations()
def m016_trials(db: Database) -> None:
    """The trainings that a run compares before it settles on a recipe."""
    _run(
        db,
        """
        CREATE TABLE trials (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,                        -- from 1
            changes TEXT NOT NULL,                          -- JSON, of the recipe
            fold INTEGER,
            state TEXT NOT NULL DEFAULT 'waiting'
                CHECK (state IN ('waiting', 'running', 'done', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            total_steps INTEGER NOT NULL DEFAULT 0,
            best_step INTEGER,
            train_loss REAL,
            loss REAL,
            f1 REAL,
            seconds REAL,
            error TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (run_id, number)
        ) STRICT
        """,
    )


@migrations()
def m017_broken_off(db: Database) -> None:
    """What was said of answers that the engine broke off never counted; now it is written down."""
    _run(
        db,
        """
        UPDATE feedback SET counts = 0
            WHERE reply_id IN (SELECT id FROM replies WHERE status = 'partial');
        CREATE INDEX feedback_over_cap ON feedback (person) WHERE over_cap = 1
        """,
    )


@migrations()
def m018_holes(db: Database) -> None:
    """Pairs whose words are gone are few, and asked for whenever somebody looks at the state."""
    _run(
        db,
        "CREATE INDEX pairs_forgotten ON pairs (domain_id, status) WHERE forgotten_at IS NOT NULL",
    )


@migrations()
def m019_feedback_by_time(db: Database) -> None:
    """What people thought this week is read whenever somebody looks at the Home tab."""
    _run(db, "CREATE INDEX feedback_by_time ON feedback (created_at) WHERE live = 1")


@migrations()
def m020_feedback_by_pair(db: Database) -> None:
    """Corrections are asked for by their pair when it is edited, taken back or forgotten."""
    _run(db, "CREATE INDEX feedback_by_pair ON feedback (pair_id) WHERE pair_id IS NOT NULL")


@migrations()
def m021_parity_leads(db: Database) -> None:
    """By how much an engine preferred another token than the trainer, wherever it did."""
    _run(db, "ALTER TABLE placements ADD COLUMN parity_leads TEXT NOT NULL DEFAULT '[]'")


@migrations()
def m022_probe_loss(db: Database) -> None:
    """Held-out phrasings are what training is judged by where there are some: their loss is shown,
    too."""
    _run(db, "ALTER TABLE run_points ADD COLUMN probe_loss REAL")
