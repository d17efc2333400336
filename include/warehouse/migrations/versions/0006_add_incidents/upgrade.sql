CREATE TABLE sluice.incident (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key              text        NOT NULL,
    kind             text        NOT NULL,
    model            text,
    cause            text        NOT NULL DEFAULT '',
    severity         text        NOT NULL CHECK (severity IN ('page', 'ticket', 'note')),
    summary          text        NOT NULL,
    impact           text        NOT NULL DEFAULT '',
    next_step        text        NOT NULL DEFAULT '',
    url              text,
    subjects         text[]      NOT NULL DEFAULT '{}',
    channels         text[]      NOT NULL DEFAULT '{}',
    occurrences      integer     NOT NULL DEFAULT 1 CHECK (occurrences > 0),
    opened_at        timestamptz NOT NULL,
    last_seen_at     timestamptz NOT NULL,
    acknowledged_at  timestamptz,
    acknowledged_by  text,
    resolved_at      timestamptz,
    resolution       text,
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);
CREATE UNIQUE INDEX incident_open_key ON sluice.incident (key) WHERE resolved_at IS NULL;
CREATE INDEX ON sluice.incident (opened_at);
COMMENT ON TABLE sluice.incident IS
    'What went wrong: one row for each cause, however often it was seen. It ends when the cause is gone.';
COMMENT ON COLUMN sluice.incident.id IS 'A number that identifies the incident.';
COMMENT ON COLUMN sluice.incident.key IS
    'What all its occurrences have in common: kind, model and cause. At most one open incident has it.';
COMMENT ON COLUMN sluice.incident.kind IS 'What is wrong, such as `failed_score`. docs/how-to/alerts.md lists them.';
COMMENT ON COLUMN sluice.incident.model IS 'The name of the model; null when the incident is about no single model.';
COMMENT ON COLUMN sluice.incident.cause IS 'Keeps incidents of one kind and model apart; mostly empty.';
COMMENT ON COLUMN sluice.incident.severity IS
    '`page`: somebody must act now; `ticket`: in working hours; `note`: nobody has to act, and nobody is told.';
COMMENT ON COLUMN sluice.incident.summary IS 'What is wrong, in a sentence, as it was seen last.';
COMMENT ON COLUMN sluice.incident.impact IS 'What users get now.';
COMMENT ON COLUMN sluice.incident.next_step IS 'What to do.';
COMMENT ON COLUMN sluice.incident.url IS 'The address of a page with more, such as the log of the task.';
COMMENT ON COLUMN sluice.incident.subjects IS
    'The partitions, runs or processes that are affected now. The incident ends when none is left.';
COMMENT ON COLUMN sluice.incident.channels IS 'The channels of the model, which are told beside the default one.';
COMMENT ON COLUMN sluice.incident.occurrences IS 'How often it was seen since it was opened.';
COMMENT ON COLUMN sluice.incident.opened_at IS 'When it was seen first.';
COMMENT ON COLUMN sluice.incident.last_seen_at IS 'When it was seen last.';
COMMENT ON COLUMN sluice.incident.acknowledged_at IS 'When a person took it over: there are no more messages but the last.';
COMMENT ON COLUMN sluice.incident.acknowledged_by IS 'Who took it over.';
COMMENT ON COLUMN sluice.incident.resolved_at IS 'When it ended; null while it is open.';
COMMENT ON COLUMN sluice.incident.resolution IS 'Why it ended.';

CREATE TABLE sluice.incident_event (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id  bigint      NOT NULL REFERENCES sluice.incident,
    at           timestamptz NOT NULL,
    event        text        NOT NULL
        CHECK (event IN ('opened', 'worse', 'acknowledged', 'silenced', 'resolved', 'undelivered')),
    actor        text,
    details      text        NOT NULL DEFAULT ''
);
CREATE INDEX ON sluice.incident_event (incident_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.incident_event
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
COMMENT ON TABLE sluice.incident_event IS 'The history of incidents: what happened to each, in order.';
COMMENT ON COLUMN sluice.incident_event.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.incident_event.incident_id IS 'The incident.';
COMMENT ON COLUMN sluice.incident_event.at IS 'When it happened.';
COMMENT ON COLUMN sluice.incident_event.event IS 'What happened.';
COMMENT ON COLUMN sluice.incident_event.actor IS 'The person who did it; null for what Sluice did.';
COMMENT ON COLUMN sluice.incident_event.details IS 'The summary, the reason, or the error.';

CREATE TABLE sluice.alert_message (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id      bigint      NOT NULL REFERENCES sluice.incident,
    number           integer     NOT NULL,
    reference        text        NOT NULL,
    channel          text        NOT NULL,
    action           text        NOT NULL CHECK (action IN ('trigger', 'update', 'resolve')),
    title            text        NOT NULL,
    body             text        NOT NULL,
    created_at       timestamptz NOT NULL,
    attempts         integer     NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL,
    last_error       text,
    delivered_at     timestamptz,
    abandoned_at     timestamptz,
    UNIQUE (incident_id, number, channel)
);
CREATE INDEX alert_message_due ON sluice.alert_message (next_attempt_at)
    WHERE delivered_at IS NULL AND abandoned_at IS NULL;
COMMENT ON TABLE sluice.alert_message IS
    'The messages about incidents, one for each channel. A message is tried until its channel accepts it, for a week.';
COMMENT ON COLUMN sluice.alert_message.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.alert_message.incident_id IS 'The incident.';
COMMENT ON COLUMN sluice.alert_message.number IS
    'Position among the messages of the incident.';
COMMENT ON COLUMN sluice.alert_message.reference IS 'The id by which a receiver knows a repetition.';
COMMENT ON COLUMN sluice.alert_message.channel IS 'The channel, of SLUICE_ALERT_CHANNELS.';
COMMENT ON COLUMN sluice.alert_message.action IS 'Whether it opens, repeats or ends the incident.';
COMMENT ON COLUMN sluice.alert_message.title IS 'The first line.';
COMMENT ON COLUMN sluice.alert_message.body IS 'The text.';
COMMENT ON COLUMN sluice.alert_message.created_at IS 'When it was written.';
COMMENT ON COLUMN sluice.alert_message.attempts IS 'How often it was tried.';
COMMENT ON COLUMN sluice.alert_message.next_attempt_at IS 'When it is tried next.';
COMMENT ON COLUMN sluice.alert_message.last_error IS 'Why the channel did not accept it the last time.';
COMMENT ON COLUMN sluice.alert_message.delivered_at IS 'When the channel accepted it.';
COMMENT ON COLUMN sluice.alert_message.abandoned_at IS 'When it was given up, after a week.';

CREATE TABLE sluice.alert_silence (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model       text,
    kind        text,
    until       timestamptz NOT NULL,
    reason      text        NOT NULL,
    actor       text        NOT NULL,
    created_at  timestamptz NOT NULL,
    lifted_at   timestamptz,
    lifted_by   text,
    CHECK (until > created_at),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
COMMENT ON TABLE sluice.alert_silence IS
    'Incidents that nobody is told of for some time. Those that are open when the time is over are told then.';
COMMENT ON COLUMN sluice.alert_silence.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.alert_silence.model IS 'The model; null: any.';
COMMENT ON COLUMN sluice.alert_silence.kind IS 'The kind of incident; null: any.';
COMMENT ON COLUMN sluice.alert_silence.until IS 'When it ends.';
COMMENT ON COLUMN sluice.alert_silence.reason IS 'Why.';
COMMENT ON COLUMN sluice.alert_silence.actor IS 'Who silenced them.';
COMMENT ON COLUMN sluice.alert_silence.created_at IS 'When it began.';
COMMENT ON COLUMN sluice.alert_silence.lifted_at IS 'When it was lifted before its end.';
COMMENT ON COLUMN sluice.alert_silence.lifted_by IS 'Who lifted it.';

ALTER TABLE sluice.alert
    DROP COLUMN channels, DROP COLUMN delivered,
    ADD COLUMN kind text NOT NULL DEFAULT 'failed_task',
    ADD COLUMN subject text,
    ADD COLUMN needs_nobody boolean NOT NULL DEFAULT false,
    ADD COLUMN incident_id bigint REFERENCES sluice.incident,
    ADD COLUMN spool_id text UNIQUE;
CREATE INDEX alert_without_incident ON sluice.alert (id) WHERE incident_id IS NULL AND NOT needs_nobody;
CREATE INDEX ON sluice.alert (incident_id);
-- What was raised before there were incidents is history.
UPDATE sluice.alert SET needs_nobody = true;
COMMENT ON TABLE sluice.alert IS 'What was reported: the occurrences of incidents, and what nobody had to act on.';
COMMENT ON COLUMN sluice.alert.kind IS 'What is wrong; the kind of the incident follows from it.';
COMMENT ON COLUMN sluice.alert.subject IS 'The partition or the run that is affected.';
COMMENT ON COLUMN sluice.alert.needs_nobody IS 'Whether it is recorded only: nobody has to act.';
COMMENT ON COLUMN sluice.alert.spool_id IS
    'The file that kept it while the database could not be reached; null if it could be.';
COMMENT ON COLUMN sluice.alert.incident_id IS 'Its incident; null until one was opened, and when nobody has to act.';

DO $$
DECLARE
    writer text;
BEGIN
    FOR writer IN SELECT rolname FROM pg_roles WHERE rolname IN ('sluice_trainer', 'sluice_operator') LOOP
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE ON sluice.incident, sluice.alert_message, sluice.alert_silence TO %I', writer);
        EXECUTE format('GRANT SELECT, INSERT ON sluice.incident_event, sluice.alert TO %I', writer);
        EXECUTE format('GRANT UPDATE (incident_id) ON sluice.alert TO %I', writer);
    END LOOP;
END $$;
