-- What is written at each change of a job is small and lies together: events are appended, where each stood among those of
-- its job, and a night's jobs stand in a table of their own, a row per job where an index had one per event. Moments of
-- events and requests are numbers, seconds since 1970 in UTC: of these rows there are most.

ALTER TABLE events RENAME TO events_before;

-- What happened to each job, in order of `id`. `state` is the state entered, NULL where the event changed none.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    job_id     INTEGER NOT NULL REFERENCES jobs (id),
    at_seconds REAL NOT NULL,
    night      TEXT NOT NULL,
    name       TEXT NOT NULL,
    state      TEXT,
    note       TEXT NOT NULL,
    epoch      INTEGER NOT NULL
) STRICT;
INSERT INTO events (job_id, at_seconds, night, name, state, note, epoch)
-- To the microsecond. A moment that is none becomes one that is too far: it is told as damage by whoever reads it.
SELECT job_id, coalesce(strftime('%s', at) + substr(at, 21, 6) / 1e6, 9e99), night, name, state, note, epoch
FROM events_before ORDER BY job_id, number;
DROP TABLE events_before;
CREATE INDEX events_of_job ON events (job_id);

-- The jobs of each night: those made in it, and those to which something happened in it.
CREATE TABLE nights_of_jobs (
    night  TEXT NOT NULL,
    job_id INTEGER NOT NULL,
    PRIMARY KEY (night, job_id)
) STRICT, WITHOUT ROWID;
INSERT INTO nights_of_jobs (night, job_id)
SELECT created_night, id FROM jobs UNION SELECT night, job_id FROM events;
DROP INDEX IF EXISTS jobs_created;

-- For NOT IN, SQLite made two temporary tables at each change of a job.
DROP INDEX IF EXISTS jobs_unfinished;
CREATE INDEX jobs_unfinished ON jobs (id) WHERE state <> 'downloaded' AND state <> 'failed' AND state <> 'skipped';

ALTER TABLE spends RENAME TO spends_before;
CREATE TABLE spends (
    id           INTEGER PRIMARY KEY,
    domain       TEXT NOT NULL,
    boot_id      TEXT NOT NULL,
    boot_seconds REAL NOT NULL,
    wall_seconds REAL NOT NULL
) STRICT;
INSERT INTO spends (domain, boot_id, boot_seconds, wall_seconds)
-- Here it becomes this moment: what is taken for too old would weigh too little.
SELECT domain, boot_id, boot_seconds, coalesce(strftime('%s', wall) + substr(wall, 21, 6) / 1e6, strftime('%s', 'now'))
FROM spends_before ORDER BY id;
DROP TABLE spends_before;
