-- The ledger: which versions exist, and which of them was champion when.

CREATE TABLE sluice.model_version (
    model            text        NOT NULL,
    version          integer     NOT NULL CHECK (version >= 1),
    artifact_digest  text        NOT NULL,
    spec_digest      text        NOT NULL,
    data_digest      text        NOT NULL,
    run_id           text        NOT NULL,
    evaluation       jsonb       NOT NULL,
    decision         jsonb       NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    needs_approval   boolean     NOT NULL DEFAULT false,
    evidence_digest  text        NOT NULL,
    requested_by     text        CHECK (requested_by <> ''),
    PRIMARY KEY (model, version),
    UNIQUE (model, run_id)
);
COMMENT ON TABLE sluice.model_version IS
    'Every version that was ever registered, accepted or rejected. One run registers one version. Append-only.';
COMMENT ON COLUMN sluice.model_version.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.model_version.version IS 'The number of the version: 1, 2, 3, ... within the model.';
COMMENT ON COLUMN sluice.model_version.artifact_digest IS
    'SHA-256 of the artifact''s `manifest.json`, which holds the SHA-256 of each file of the artifact.';
COMMENT ON COLUMN sluice.model_version.spec_digest IS 'SHA-256 of `spec.py` and `features.sql`.';
COMMENT ON COLUMN sluice.model_version.data_digest IS
    'SHA-256 of the snapshot of data that the version was trained and evaluated on.';
COMMENT ON COLUMN sluice.model_version.run_id IS 'The run that made the version.';
COMMENT ON COLUMN sluice.model_version.evaluation IS
    'The metrics of `candidate`, `champion` and `baseline` on the same holdout, its number of `rows` and its period, '
    'with intervals, differences and slices; `reused_by` lists earlier versions that used the same holdout.';
COMMENT ON COLUMN sluice.model_version.decision IS
    'Whether the gates `accepted` the version, and for each of the `gates` its figure, limit, result and a sentence.';
COMMENT ON COLUMN sluice.model_version.created_at IS 'When the version was registered.';
COMMENT ON COLUMN sluice.model_version.needs_approval IS
    'Whether the declaration required the approval of a person before a promotion.';
COMMENT ON COLUMN sluice.model_version.evidence_digest IS
    'SHA-256 of the version with everything that the decision used. An approval holds for this digest only.';
COMMENT ON COLUMN sluice.model_version.requested_by IS
    'Who started the run, and therefore may not approve the version; null when the schedule started it.';

CREATE TABLE sluice.promotion (
    model            text        NOT NULL,
    sequence         integer     NOT NULL CHECK (sequence >= 1),
    from_version     integer,
    to_version       integer     NOT NULL,
    actor            text        NOT NULL CHECK (actor <> ''),
    reason           text        NOT NULL CHECK (reason <> ''),
    evidence_digest  text        NOT NULL,
    promoted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, sequence),
    FOREIGN KEY (model, to_version) REFERENCES sluice.model_version,
    FOREIGN KEY (model, from_version) REFERENCES sluice.model_version
);
COMMENT ON TABLE sluice.promotion IS
    'Every decision on a champion. The row with the highest sequence number of a model names its champion. Append-only.';
COMMENT ON COLUMN sluice.promotion.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.promotion.sequence IS
    'The number of the promotion: 1, 2, 3, ... within the model, without gaps. '
    'Of two promotions at the same time, only one can get the next number; the other fails.';
COMMENT ON COLUMN sluice.promotion.from_version IS
    'The champion before; null for the first promotion. The same as to_version if a person confirmed the champion.';
COMMENT ON COLUMN sluice.promotion.to_version IS 'The champion from then on.';
COMMENT ON COLUMN sluice.promotion.actor IS 'Who promoted: a person or a DAG.';
COMMENT ON COLUMN sluice.promotion.reason IS 'Why the champion was changed.';
COMMENT ON COLUMN sluice.promotion.evidence_digest IS
    'SHA-256 of the registered version, with the evaluation and the decision that the promotion was based on.';
COMMENT ON COLUMN sluice.promotion.promoted_at IS 'When the champion was changed.';

CREATE VIEW sluice.champion AS
SELECT DISTINCT ON (model) model, to_version AS version, sequence, actor, reason, promoted_at AS since
FROM sluice.promotion ORDER BY model, sequence DESC;
COMMENT ON VIEW sluice.champion IS 'The current champion of each model.';
COMMENT ON COLUMN sluice.champion.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.champion.version IS 'The version that is champion.';
COMMENT ON COLUMN sluice.champion.sequence IS 'The sequence number of its promotion.';
COMMENT ON COLUMN sluice.champion.actor IS 'Who promoted it.';
COMMENT ON COLUMN sluice.champion.reason IS 'Why it was promoted.';
COMMENT ON COLUMN sluice.champion.since IS 'When it was promoted.';

CREATE VIEW sluice.champion_history AS
SELECT model, to_version AS version, sequence, actor, reason, promoted_at AS from_time,
       lead(promoted_at) OVER (PARTITION BY model ORDER BY sequence) AS until_time
FROM sluice.promotion;
COMMENT ON VIEW sluice.champion_history IS
    'Which version was champion from when to when. The champion at the time T is the row with from_time <= T and '
    '(until_time is null or T < until_time).';
COMMENT ON COLUMN sluice.champion_history.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.champion_history.version IS 'The version that was champion.';
COMMENT ON COLUMN sluice.champion_history.sequence IS 'The sequence number of its promotion.';
COMMENT ON COLUMN sluice.champion_history.actor IS 'Who promoted it.';
COMMENT ON COLUMN sluice.champion_history.reason IS 'Why it was promoted.';
COMMENT ON COLUMN sluice.champion_history.from_time IS 'When it became champion.';
COMMENT ON COLUMN sluice.champion_history.until_time IS
    'When the next champion replaced it (this moment is not included); null for the current champion.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.model_version
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.promotion
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE FUNCTION sluice.announce_promotion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sluice_promotion', NEW.model);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION sluice.announce_promotion IS
    'Notifies the online services, which listen on the channel sluice_promotion, that the champion of a model changed.';
CREATE TRIGGER announce AFTER INSERT ON sluice.promotion
    FOR EACH ROW EXECUTE FUNCTION sluice.announce_promotion();
