-- The states that a job entered stand in its snapshot. They were read from its events, a search for each job.

UPDATE jobs
SET snapshot = json_set(snapshot, '$.history', json((
    -- In the order of the key that they are looked up by, which is that of their numbers.
    SELECT json_group_array(json_array(events.state, events.at)) FROM events
    WHERE events.job_id = jobs.id AND events.state IS NOT NULL
)))
WHERE id IN (SELECT job_id FROM events WHERE state IS NOT NULL);
