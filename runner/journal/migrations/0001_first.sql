-- The first shape of the journal.
--
-- Moments are text in UTC with microseconds and always as long, so that their order is the order of the text. Dates
-- are text, YYYY-MM-DD. `spec` and `snapshot` are JSON; what is searched by stands in columns of its own besides.

PRAGMA application_id = 1920298610; -- "runr": tells our file from any other program's

-- Who holds the journal. `epoch` grows by one with each holder; what an older one still tries to write is refused.
CREATE TABLE holder (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO holder (one, epoch) VALUES (1, 0);

-- One row per job: what is wanted (`spec`), where it stands (`state`), what is known of it (`snapshot`).
CREATE TABLE jobs (
    id              INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL,    -- export or report; with domain and subject, the job's identity
    domain          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    tenant          TEXT NOT NULL,
    name            TEXT NOT NULL,
    due             TEXT NOT NULL,
    created_night   TEXT NOT NULL,
    state           TEXT NOT NULL,
    error_code      TEXT,
    trigger_count   INTEGER NOT NULL,
    last_trigger_at TEXT,
    epoch           INTEGER NOT NULL, -- of the holder that wrote this row
    spec            TEXT NOT NULL,
    snapshot        TEXT NOT NULL,
    UNIQUE (kind, domain, subject)
) STRICT;
CREATE INDEX jobs_created ON jobs (created_night);
CREATE INDEX jobs_named ON jobs (tenant, name);
CREATE INDEX jobs_unfinished ON jobs (id) WHERE state NOT IN ('downloaded', 'failed', 'skipped');
CREATE INDEX jobs_triggered_again ON jobs (kind, last_trigger_at)
    WHERE state = 'downloaded' AND trigger_count > 1;
CREATE INDEX jobs_failed ON jobs (error_code) WHERE state = 'failed';

-- What happened to each job, in order. `state` is the state entered, NULL where the event changed none.
CREATE TABLE events (
    job_id INTEGER NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL, -- counts the events of one job
    at     TEXT NOT NULL,
    night  TEXT NOT NULL,
    name   TEXT NOT NULL,
    state  TEXT,
    note   TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_of_night ON events (night, job_id);

-- The requests of the last minute, so that a restart does not start the budget anew.
CREATE TABLE spends (
    id           INTEGER PRIMARY KEY,
    domain       TEXT NOT NULL,
    boot_id      TEXT NOT NULL,
    boot_seconds REAL NOT NULL,
    wall         TEXT NOT NULL
) STRICT;

-- The report templates that were made in Lucca, by content.
CREATE TABLE templates (
    domain      TEXT NOT NULL,
    sha256      TEXT NOT NULL,
    template_id INTEGER NOT NULL,
    PRIMARY KEY (domain, sha256)
) STRICT, WITHOUT ROWID;

-- What was learnt of a domain, such as which path answers.
CREATE TABLE traits (
    domain TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (domain, key)
) STRICT, WITHOUT ROWID;

-- Since which night each report is known: what was due before is not made up for.
CREATE TABLE reports (
    domain      TEXT NOT NULL,
    name        TEXT NOT NULL,
    first_night TEXT NOT NULL,
    PRIMARY KEY (domain, name)
) STRICT, WITHOUT ROWID;

-- The nights that were run, each with its latest run. One without an end is running, or died.
CREATE TABLE nights (
    night       TEXT PRIMARY KEY,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    outcome     TEXT
) STRICT, WITHOUT ROWID;
