-- The queries of the journal, each under its name. `{choice}` stands for one of the choices of jobs, a condition.

-- ── which jobs ──────────────────────────────────────────────────────────────────────────────────────────────────

-- name: choose_unfinished
-- The condition is that of the partial index, word for word.
state <> 'downloaded' AND state <> 'failed' AND state <> 'skipped'

-- name: choose_ids
-- `:ids` is JSON: a list of numbers.
id IN (SELECT value FROM json_each(:ids))

-- name: choose_owing_a_look
-- A twin of the first may come late where there were several triggers; and where none brought anything, or a later
-- export came first.
id IN (
    SELECT id FROM jobs
    WHERE kind = 'export' AND state = 'downloaded' AND trigger_count > 1 AND last_trigger_at >= :since
    UNION ALL
    SELECT id FROM jobs WHERE kind = 'export' AND state = 'failed' AND error_code = 'no_export'
    UNION ALL
    SELECT id FROM jobs
    WHERE kind = 'export' AND state = 'failed' AND error_code = 'superseded' AND last_trigger_at >= :since
)

-- name: choose_failed_with
-- `:codes` is JSON: a list of error codes.
state = 'failed' AND error_code IN (SELECT value FROM json_each(:codes))

-- name: choose_named
-- Both may be NULL, for any.
(:tenant IS NULL OR tenant = :tenant) AND (:name IS NULL OR name = :name)

-- name: choose_night_named
(:tenant IS NULL OR tenant = :tenant) AND (:name IS NULL OR name = :name)
AND id IN (SELECT job_id FROM nights_of_jobs WHERE night = :night)

-- ── reading jobs ────────────────────────────────────────────────────────────────────────────────────────────────

-- name: find
-- Each with its place in `:wanted`, which is JSON: a list of [kind, domain, subject]. CROSS keeps it in the outer loop.
SELECT jobs.id, wanted.key
FROM json_each(:wanted) AS wanted
CROSS JOIN jobs
    ON jobs.kind = json_extract(wanted.value, '$[0]')
    AND jobs.domain = json_extract(wanted.value, '$[1]')
    AND jobs.subject = json_extract(wanted.value, '$[2]')

-- name: jobs_chosen
SELECT id, kind, state, spec, snapshot FROM jobs WHERE {choice} ORDER BY id

-- name: numbers_of_night
-- All as one JSON list.
SELECT json_group_array(job_id) FROM nights_of_jobs WHERE night = :night

-- name: events_of_job
SELECT at_seconds, night, name, state, note, epoch FROM events WHERE job_id = :job_id ORDER BY id

-- ── writing jobs ────────────────────────────────────────────────────────────────────────────────────────────────

-- name: create
-- Gives no row where there is such a job already.
INSERT INTO jobs (
    kind, domain, subject, tenant, name, due, created_night, state, trigger_count, epoch, spec, snapshot
)
VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?, '{}')
ON CONFLICT (kind, domain, subject) DO NOTHING
RETURNING id

-- name: record_snapshot
-- Changes no row where a newer holder has written it, or where there is none. No text stands for NULL, for which Python
-- would look for an adapter each time.
UPDATE jobs
SET
    epoch = ?2, state = ?3, error_code = nullif(?4, ''), trigger_count = ?5, last_trigger_at = nullif(?6, ''),
    snapshot = ?7
WHERE id = ?1 AND epoch <= ?2

-- name: record_event
INSERT INTO events (job_id, epoch, at_seconds, night, name, state, note) VALUES (?, ?, ?, ?, ?, nullif(?, ''), ?)

-- name: record_night
-- It may be known already.
INSERT OR REPLACE INTO nights_of_jobs (night, job_id) VALUES (?, ?)

-- name: refresh_spec
UPDATE jobs SET tenant = ?, name = ?, due = ?, spec = ? WHERE id = ? AND epoch <= ?

-- name: epoch_of_job
SELECT epoch FROM jobs WHERE id = :id

-- ── the holder ──────────────────────────────────────────────────────────────────────────────────────────────────

-- name: epoch
SELECT epoch FROM holder

-- name: take
UPDATE holder SET epoch = epoch + 1 RETURNING epoch

-- ── the budget ──────────────────────────────────────────────────────────────────────────────────────────────────

-- name: spend
INSERT INTO spends (domain, boot_id, boot_seconds, wall_seconds) VALUES (?, ?, ?, ?)

-- name: recent_spends
-- In seconds of this boot. Those of another are told by the wall clock, the future included: a clock was set back.
SELECT
    domain,
    CASE WHEN boot_id = :boot_id THEN boot_seconds ELSE :boot_seconds - max(0.0, :wall_seconds - wall_seconds) END
FROM spends
WHERE CASE WHEN boot_id = :boot_id THEN boot_seconds > :since_boot_seconds ELSE wall_seconds > :since_wall_seconds END
ORDER BY id

-- name: forget_spends
-- The rest of the above.
DELETE FROM spends
WHERE CASE WHEN boot_id = :boot_id THEN boot_seconds <= :since_boot_seconds ELSE wall_seconds <= :since_wall_seconds END

-- ── what was learnt ─────────────────────────────────────────────────────────────────────────────────────────────

-- name: template
SELECT template_id FROM templates WHERE domain = :domain AND sha256 = :sha256

-- name: remember_template
INSERT INTO templates (domain, sha256, template_id) VALUES (:domain, :sha256, :template_id)
ON CONFLICT (domain, sha256) DO UPDATE SET template_id = excluded.template_id

-- name: forget_template
DELETE FROM templates WHERE domain = :domain AND sha256 = :sha256

-- name: traits
SELECT domain, key, value FROM traits

-- name: remember_trait
INSERT INTO traits (domain, key, value) VALUES (:domain, :key, :value)
ON CONFLICT (domain, key) DO UPDATE SET value = excluded.value

-- name: first_nights
SELECT domain, name, first_night FROM reports

-- name: remember_first_night
INSERT INTO reports (domain, name, first_night) VALUES (?, ?, ?)
ON CONFLICT (domain, name) DO UPDATE SET first_night = min(first_night, excluded.first_night)

-- ── nights ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- name: start_night
-- A night that is run again is open again.
INSERT INTO nights (night, started_at) VALUES (:night, :at)
ON CONFLICT (night) DO UPDATE SET started_at = excluded.started_at, finished_at = NULL, outcome = NULL

-- name: finish_night
UPDATE nights SET finished_at = :at, outcome = :outcome WHERE night = :night

-- name: unclosed_nights
SELECT night, started_at FROM nights WHERE finished_at IS NULL ORDER BY night

-- name: last_night
SELECT max(night) FROM nights

-- name: nights
SELECT night, started_at, finished_at, outcome FROM nights ORDER BY night
