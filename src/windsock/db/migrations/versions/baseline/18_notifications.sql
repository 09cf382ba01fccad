-- Notifications: channels, rules, groups of incidents that are announced together, the outbox, and why each message was sent or not.

CREATE TABLE channels (
    space_id          uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id                uuid NOT NULL DEFAULT uuid7(),
    name              text NOT NULL,
    kind              text NOT NULL
                      CONSTRAINT channels_kind_is_known CHECK (kind IN ('slack', 'teams', 'email', 'pagerduty', 'alertmanager', 'webhook')),
    config            jsonb NOT NULL DEFAULT '{}',
    secret            bytea,
    secret_lost_at    timestamptz,
    team_id           uuid,
    is_active         boolean NOT NULL DEFAULT true,
    max_per_hour      integer NOT NULL DEFAULT 60
                      CONSTRAINT channels_max_per_hour_in_range CHECK (max_per_hour BETWEEN 1 AND 1000),
    disabled_at       timestamptz,
    disabled_reason   text,
    failing_since     timestamptz,
    last_error        text,
    last_delivered_at timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT channels_name_unique UNIQUE (space_id, name),
    CONSTRAINT channels_name_length CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT channels_disabled CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT channels_team FOREIGN KEY (space_id, team_id) REFERENCES teams ON DELETE SET NULL (team_id)
);
CREATE INDEX channels_team ON channels (space_id, team_id) WHERE team_id IS NOT NULL;
COMMENT ON TABLE channels IS 'Receivers of messages: Slack, Microsoft Teams, e-mail, PagerDuty, Alertmanager, webhooks.';
COMMENT ON COLUMN channels.secret IS 'Encrypted; never returned.';
COMMENT ON COLUMN channels.secret_lost_at IS 'When an operator accepted that no key decrypts the secret; null again when another one is entered.';
COMMENT ON COLUMN channels.team_id IS 'The team whose channel it is: rules send incidents of its pipelines here.';
COMMENT ON COLUMN channels.max_per_hour IS 'Messages beyond that are collected into one.';
COMMENT ON COLUMN channels.disabled_at IS 'When the receiver refused for good; saving the channel or a test that succeeds enables it again.';

CREATE TABLE notification_rules (
    space_id         uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id               uuid NOT NULL DEFAULT uuid7(),
    name             text NOT NULL,
    is_active        boolean NOT NULL DEFAULT true,
    kinds            text[] NOT NULL DEFAULT '{}',
    min_criticality  text NOT NULL DEFAULT 'low'
                     CONSTRAINT notification_rules_criticality_is_known CHECK (min_criticality IN ('low', 'medium', 'high', 'critical')),
    team_ids         uuid[] NOT NULL DEFAULT '{}',
    connector_ids    uuid[] NOT NULL DEFAULT '{}',
    tags             text[] NOT NULL DEFAULT '{}',
    channel_ids      uuid[] NOT NULL DEFAULT '{}',
    to_team_channels boolean NOT NULL DEFAULT false,
    to_watchers      boolean NOT NULL DEFAULT false,
    events           text[] NOT NULL DEFAULT '{opened,changed,acknowledged,resolved}',
    min_failures     integer NOT NULL DEFAULT 1
                     CONSTRAINT notification_rules_min_failures_in_range CHECK (min_failures BETWEEN 1 AND 100),
    after_successes  integer NOT NULL DEFAULT 0
                     CONSTRAINT notification_rules_after_successes_in_range CHECK (after_successes BETWEEN 0 AND 50),
    hold_seconds     integer NOT NULL DEFAULT 0
                     CONSTRAINT notification_rules_hold_seconds_in_range CHECK (hold_seconds BETWEEN 0 AND 86400),
    group_by         text[] NOT NULL DEFAULT '{team,connector,fingerprint}',
    repeat_seconds   integer
                     CONSTRAINT notification_rules_repeat_seconds_in_range CHECK (repeat_seconds BETWEEN 300 AND 2592000),
    quiet_start      time,
    quiet_end        time,
    digest_at        time,
    time_zone        text NOT NULL DEFAULT 'UTC',
    critical_passes  boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT notification_rules_name_unique UNIQUE (space_id, name),
    CONSTRAINT notification_rules_name_length CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT notification_rules_quiet_hours CHECK ((quiet_start IS NULL) = (quiet_end IS NULL) AND quiet_start IS DISTINCT FROM quiet_end OR quiet_start IS NULL AND quiet_end IS NULL)
);
COMMENT ON TABLE notification_rules IS 'Which incidents are announced where. Empty lists match everything.';
COMMENT ON COLUMN notification_rules.channel_ids IS 'Channels of the space; one that is deleted is removed here.';
COMMENT ON COLUMN notification_rules.to_team_channels IS 'To the channels of the team that owns the pipeline.';
COMMENT ON COLUMN notification_rules.to_watchers IS 'By e-mail to the users who watch the pipeline.';
COMMENT ON COLUMN notification_rules.after_successes IS 'Successful runs that must precede the first failure; fewer are a flapping pipeline.';
COMMENT ON COLUMN notification_rules.hold_seconds IS 'A message waits so long for others of its group, and is dropped if all is resolved by then.';
COMMENT ON COLUMN notification_rules.repeat_seconds IS 'An unresolved group is announced again after so long; null: never.';
COMMENT ON COLUMN notification_rules.critical_passes IS 'Incidents of critical pipelines pass quiet hours and digest.';

CREATE TABLE notification_groups (
    space_id    uuid NOT NULL,
    id          uuid NOT NULL DEFAULT uuid7(),
    rule_id     uuid,
    channel_id  uuid,
    user_id     uuid REFERENCES users ON DELETE CASCADE,
    key         text NOT NULL,
    is_collection boolean NOT NULL DEFAULT false,
    opened_at   timestamptz NOT NULL,
    closed_at   timestamptz,
    notified_at timestamptz,
    ref         jsonb,
    PRIMARY KEY (space_id, id),
    CONSTRAINT notification_groups_one_recipient CHECK (num_nonnulls(channel_id, user_id) = 1),
    CONSTRAINT notification_groups_channel FOREIGN KEY (space_id, channel_id) REFERENCES channels ON DELETE CASCADE,
    CONSTRAINT notification_groups_rule FOREIGN KEY (space_id, rule_id) REFERENCES notification_rules ON DELETE SET NULL (rule_id)
);
CREATE UNIQUE INDEX notification_groups_open ON notification_groups (space_id, coalesce(channel_id, user_id), key) WHERE closed_at IS NULL;
CREATE INDEX notification_groups_channel ON notification_groups (space_id, channel_id);
CREATE INDEX notification_groups_rule ON notification_groups (space_id, rule_id);
CREATE INDEX notification_groups_user ON notification_groups (user_id);
CREATE INDEX notification_groups_to_repeat ON notification_groups (space_id, notified_at) WHERE closed_at IS NULL AND notified_at IS NOT NULL;
COMMENT ON TABLE notification_groups IS 'Incidents that one recipient is told of together: one alert of PagerDuty, one conversation by e-mail.';
COMMENT ON COLUMN notification_groups.is_collection IS 'What quiet hours, a digest, a rate limit or a late sync collected.';
COMMENT ON COLUMN notification_groups.ref IS 'How the receiver calls the message, so that it can be edited.';

CREATE TABLE notification_group_incidents (
    space_id    uuid NOT NULL,
    group_id    uuid NOT NULL,
    incident_id uuid NOT NULL,
    PRIMARY KEY (space_id, group_id, incident_id),
    CONSTRAINT notification_group_incidents_group FOREIGN KEY (space_id, group_id) REFERENCES notification_groups ON DELETE CASCADE,
    CONSTRAINT notification_group_incidents_incident FOREIGN KEY (space_id, incident_id) REFERENCES incidents ON DELETE CASCADE
);
CREATE INDEX notification_group_incidents_incident ON notification_group_incidents (space_id, incident_id);
COMMENT ON TABLE notification_group_incidents IS 'The incidents of a group.';

CREATE TABLE messages (
    space_id      uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id            uuid NOT NULL DEFAULT uuid7(),
    group_id      uuid,
    channel_id    uuid,
    user_id       uuid REFERENCES users ON DELETE CASCADE,
    event         text NOT NULL
                  CONSTRAINT messages_event_is_known CHECK (event IN (
                      'opened', 'changed', 'acknowledged', 'resolved', 'reminder', 'catch_up', 'digest', 'notice', 'test')),
    dedup_key     text NOT NULL,
    state         text NOT NULL DEFAULT 'queued'
                  CONSTRAINT messages_state_is_known CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'dropped')),
    happened_at   timestamptz NOT NULL DEFAULT now(),
    due_at        timestamptz NOT NULL DEFAULT now(),
    lease_id      uuid,
    lease_until   timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    ambiguous     integer NOT NULL DEFAULT 0,
    is_repetition boolean NOT NULL DEFAULT false,
    reason        text NOT NULL,
    detail        text,
    content       jsonb,
    created_at    timestamptz NOT NULL DEFAULT now(),
    sent_at       timestamptz,
    PRIMARY KEY (space_id, id),
    CONSTRAINT messages_one_recipient CHECK (num_nonnulls(channel_id, user_id) = 1),
    CONSTRAINT messages_dedup_key UNIQUE NULLS NOT DISTINCT (space_id, channel_id, user_id, dedup_key),
    CONSTRAINT messages_lease CHECK ((state = 'sending') = (lease_id IS NOT NULL)),
    CONSTRAINT messages_channel FOREIGN KEY (space_id, channel_id) REFERENCES channels ON DELETE CASCADE,
    CONSTRAINT messages_group FOREIGN KEY (space_id, group_id) REFERENCES notification_groups ON DELETE CASCADE
);
CREATE INDEX messages_due ON messages (due_at, id) WHERE state = 'queued';
CREATE INDEX messages_leased ON messages (lease_until) WHERE state = 'sending';
CREATE INDEX messages_unsent ON messages (created_at) WHERE state IN ('queued', 'sending');
CREATE INDEX messages_newest ON messages (space_id, created_at DESC, id DESC);
CREATE INDEX messages_of_channel ON messages (space_id, channel_id, created_at DESC, id DESC) WHERE channel_id IS NOT NULL;
CREATE INDEX messages_of_group ON messages (space_id, group_id, id);
CREATE INDEX messages_of_user ON messages (user_id) WHERE user_id IS NOT NULL;
COMMENT ON TABLE messages IS 'The outbox: each message is a row before it is sent. Also the log of what was sent.';
COMMENT ON COLUMN messages.dedup_key IS 'What caused it: an event of an incident causes one message to a recipient at most.';
COMMENT ON COLUMN messages.happened_at IS 'When that happened.';
COMMENT ON COLUMN messages.ambiguous IS 'Attempts of which it is unknown whether they arrived.';
COMMENT ON COLUMN messages.is_repetition IS 'It may arrive a second time, and says so.';
COMMENT ON COLUMN messages.reason IS 'Why it is sent, as a sentence of the message.';
COMMENT ON COLUMN messages.content IS 'What it says; written with the first lease, so that every attempt sends the same.';

CREATE TABLE message_attempts (
    space_id   uuid NOT NULL,
    message_id uuid NOT NULL,
    number     integer NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    outcome    text
               CONSTRAINT message_attempts_outcome_is_known CHECK (outcome IN ('delivered', 'temporary', 'permanent', 'ambiguous')),
    status     integer,
    ms         integer,
    detail     text
               CONSTRAINT message_attempts_detail_length CHECK (octet_length(detail) <= 500),
    PRIMARY KEY (space_id, message_id, number),
    CONSTRAINT message_attempts_message FOREIGN KEY (space_id, message_id) REFERENCES messages ON DELETE CASCADE
);
COMMENT ON TABLE message_attempts IS 'Attempts to deliver a message, each written before it is made.';
COMMENT ON COLUMN message_attempts.outcome IS 'Null: under way, or its process has ended.';
COMMENT ON COLUMN message_attempts.detail IS 'The first 500 bytes of the response, without secrets.';

CREATE TABLE notification_decisions (
    space_id    uuid NOT NULL,
    id          uuid NOT NULL DEFAULT uuid7(),
    event_id    uuid NOT NULL,
    incident_id uuid NOT NULL,
    rule_id     uuid,
    channel_id  uuid,
    user_id     uuid REFERENCES users ON DELETE CASCADE,
    message_id  uuid,
    outcome     text NOT NULL
                CONSTRAINT notification_decisions_outcome_is_known CHECK (outcome IN (
                    'sent', 'grouped', 'quiet', 'digest', 'late', 'rate_limited', 'reminded', 'acknowledged', 'snoozed', 'held_back',
                    'below_criticality', 'not_matching', 'too_few_failures', 'flapping', 'not_announced', 'already_sent',
                    'never_announced', 'resolved_before', 'no_recipient', 'no_rule', 'muted')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT notification_decisions_event FOREIGN KEY (space_id, event_id) REFERENCES incident_events ON DELETE CASCADE,
    CONSTRAINT notification_decisions_incident FOREIGN KEY (space_id, incident_id) REFERENCES incidents ON DELETE CASCADE,
    CONSTRAINT notification_decisions_rule FOREIGN KEY (space_id, rule_id) REFERENCES notification_rules ON DELETE SET NULL (rule_id),
    CONSTRAINT notification_decisions_channel FOREIGN KEY (space_id, channel_id) REFERENCES channels ON DELETE CASCADE,
    CONSTRAINT notification_decisions_message FOREIGN KEY (space_id, message_id) REFERENCES messages ON DELETE SET NULL (message_id)
);
CREATE INDEX notification_decisions_of_incident ON notification_decisions (space_id, incident_id, id);
CREATE INDEX notification_decisions_of_event ON notification_decisions (space_id, event_id);
CREATE INDEX notification_decisions_of_message ON notification_decisions (space_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX notification_decisions_of_rule ON notification_decisions (space_id, rule_id) WHERE rule_id IS NOT NULL;
CREATE INDEX notification_decisions_of_channel ON notification_decisions (space_id, channel_id) WHERE channel_id IS NOT NULL;
CREATE INDEX notification_decisions_of_user ON notification_decisions (user_id) WHERE user_id IS NOT NULL;
COMMENT ON TABLE notification_decisions IS 'Why a recipient was notified of an event of an incident, or not: a row per event, rule and recipient.';

CREATE TABLE notification_settings (
    user_id         uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    email_enabled   boolean NOT NULL DEFAULT true,
    email_refused_at timestamptz,
    muted_space_ids uuid[] NOT NULL DEFAULT '{}',
    quiet_start     time,
    quiet_end       time,
    digest_at       time,
    time_zone       text NOT NULL DEFAULT 'UTC',
    critical_passes boolean NOT NULL DEFAULT true,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT notification_settings_quiet_hours CHECK ((quiet_start IS NULL) = (quiet_end IS NULL))
);
COMMENT ON TABLE notification_settings IS 'How a user wants personal messages, in all spaces; without a row the defaults.';
COMMENT ON COLUMN notification_settings.email_refused_at IS 'When the mailbox refused a message for good; saving the settings tries it again.';
COMMENT ON COLUMN notification_settings.muted_space_ids IS 'Spaces from which the user unsubscribed.';

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'channels', 'notification_rules', 'notification_groups', 'notification_group_incidents', 'messages', 'message_attempts',
        'notification_decisions'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
END
$$;
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF name, config, secret, team_id, is_active, max_per_hour ON channels FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('channel', 'id', 'name', 'name kind config team_id is_active max_per_hour', 'secret');
CREATE TRIGGER redact_channel_config BEFORE INSERT ON audit_events FOR EACH ROW
WHEN (NEW.target_type = 'channel') EXECUTE FUNCTION redact_audited_config();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON notification_rules FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('notification_rule', 'id', 'name', 'name is_active kinds min_criticality team_ids connector_ids tags channel_ids to_team_channels to_watchers events min_failures after_successes hold_seconds group_by repeat_seconds quiet_start quiet_end digest_at time_zone critical_passes');
CREATE TRIGGER audit AFTER INSERT ON messages FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND nullif(current_setting('windsock.actor', true), '') IS NOT NULL)
EXECUTE FUNCTION audit('message', 'id', 'event', 'event channel_id user_id');
