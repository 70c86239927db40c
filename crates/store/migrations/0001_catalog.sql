CREATE TABLE settings (
    name {text} NOT NULL PRIMARY KEY,
    value {bytes} NOT NULL
){keyed};

CREATE TABLE accounts (
    account {text} NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    key {bytes} NOT NULL,
    country {text} NOT NULL,
    policy {text} NOT NULL,
    version BIGINT NOT NULL,
    closed_at BIGINT
){keyed};

CREATE TABLE holds (
    account {text} NOT NULL,
    hold {bytes} NOT NULL,
    placed BIGINT NOT NULL,
    rule {text} NOT NULL,
    note {bytes} NOT NULL,
    lifted_at BIGINT,
    PRIMARY KEY (account, hold)
){keyed};

CREATE TABLE tokens (
    account {text} NOT NULL,
    token_key {text} NOT NULL,
    hash {bytes} NOT NULL,
    role {text} NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (account, token_key)
){keyed};
CREATE UNIQUE INDEX tokens_key ON tokens (token_key);

CREATE TABLE epochs (
    epoch BIGINT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    wrapped {bytes} NOT NULL,
    open BIGINT NOT NULL
);
CREATE UNIQUE INDEX epochs_open ON epochs (open) WHERE open = 1;

CREATE TABLE data_keys (
    account {text} NOT NULL,
    key {bytes} NOT NULL,
    purpose {text} NOT NULL,
    epoch BIGINT NOT NULL,
    wrapped {bytes} NOT NULL,
    PRIMARY KEY (account, key)
){keyed};
CREATE INDEX data_keys_epoch ON data_keys (epoch, account, key);
CREATE INDEX data_keys_key ON data_keys (key);

CREATE TABLE partitions (
    account {text} NOT NULL,
    class {text} NOT NULL,
    day BIGINT NOT NULL,
    key {bytes} NOT NULL,
    version BIGINT NOT NULL,
    loose_rows BIGINT NOT NULL,
    loose_since BIGINT,
    sealed_rows BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    segments BIGINT NOT NULL,
    tombstones BIGINT NOT NULL,
    oldest_tombstone_at BIGINT,
    PRIMARY KEY (account, class, day)
){keyed};
CREATE INDEX partitions_key ON partitions (account, key);
CREATE INDEX partitions_day ON partitions (class, day, account);
CREATE INDEX partitions_loose ON partitions (loose_rows) WHERE loose_rows > 0;
CREATE INDEX partitions_loose_day ON partitions (day, account, class) WHERE loose_rows > 0;
CREATE INDEX partitions_tombstones ON partitions (oldest_tombstone_at) WHERE oldest_tombstone_at IS NOT NULL;
CREATE INDEX partitions_segments ON partitions (segments) WHERE segments > 0;

CREATE TABLE loose (
    account {text} NOT NULL,
    key {bytes} NOT NULL,
    sid {bytes} NOT NULL,
    at BIGINT NOT NULL,
    arrived_at BIGINT NOT NULL,
    body {bytes} NOT NULL,
    PRIMARY KEY (account, key, sid)
){keyed};

CREATE TABLE segments (
    account {text} NOT NULL,
    key {bytes} NOT NULL,
    segment {bytes} NOT NULL,
    rows BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    min_at BIGINT NOT NULL,
    max_at BIGINT NOT NULL,
    body {bytes},
    locator {bytes},
    PRIMARY KEY (account, key, segment)
){keyed};

CREATE TABLE tombstones (
    account {text} NOT NULL,
    key {bytes} NOT NULL,
    sid {bytes} NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, key, sid)
){keyed};

CREATE TABLE recordings (
    account {text} NOT NULL,
    sid {bytes} NOT NULL,
    call_sid {bytes},
    at BIGINT NOT NULL,
    kept_since BIGINT NOT NULL,
    key {bytes} NOT NULL,
    object {bytes} NOT NULL,
    bytes BIGINT NOT NULL,
    party_a {bytes} NOT NULL,
    party_b {bytes} NOT NULL,
    meta {bytes} NOT NULL,
    PRIMARY KEY (account, sid)
){keyed};
CREATE INDEX recordings_at ON recordings (account, at, sid);
CREATE INDEX recordings_call ON recordings (account, call_sid, at) WHERE call_sid IS NOT NULL;
CREATE INDEX recordings_party_a ON recordings (account, party_a, at);
CREATE INDEX recordings_party_b ON recordings (account, party_b, at);
CREATE INDEX recordings_key ON recordings (account, key);

CREATE TABLE recording_days (
    account {text} NOT NULL,
    day BIGINT NOT NULL,
    count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (account, day)
){keyed};

CREATE TABLE log_state (
    id BIGINT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL
);
INSERT INTO log_state (id, size) VALUES (1, 0);

CREATE TABLE log (
    leaf BIGINT NOT NULL PRIMARY KEY,
    account {text},
    at BIGINT,
    body {bytes} NOT NULL
);

CREATE TABLE destructions (
    account {text} NOT NULL,
    leaf BIGINT NOT NULL,
    at BIGINT NOT NULL,
    statement {text} NOT NULL,
    purged_at BIGINT,
    PRIMARY KEY (account, leaf)
){keyed};

CREATE INDEX destructions_unpurged ON destructions (leaf) WHERE purged_at IS NULL;

CREATE TABLE erasures (
    account {text} NOT NULL,
    leaf BIGINT NOT NULL,
    key {bytes} NOT NULL,
    via BIGINT,
    PRIMARY KEY (account, leaf, key)
){keyed};
CREATE INDEX erasures_key ON erasures (account, key);
CREATE INDEX erasures_via ON erasures (account, via) WHERE via IS NOT NULL;

CREATE TABLE garbage (
    id {serial},
    account {text} NOT NULL,
    leaf BIGINT,
    key {bytes},
    object {text}
);
CREATE INDEX garbage_leaf ON garbage (account, leaf) WHERE leaf IS NOT NULL;

CREATE TABLE staged (
    name {text} NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    doomed BIGINT NOT NULL
){keyed};
CREATE INDEX staged_at ON staged (at);

CREATE TABLE jobs (
    id {text} NOT NULL PRIMARY KEY,
    account {text},
    kind {text} NOT NULL,
    body {bytes} NOT NULL,
    run_at BIGINT NOT NULL,
    lease_until BIGINT,
    leased_by {text},
    attempts BIGINT NOT NULL,
    state {text} NOT NULL,
    error {text},
    created_at BIGINT NOT NULL
){keyed};
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE state = 'open';
CREATE INDEX jobs_kind ON jobs (kind, state, created_at, id);
CREATE INDEX jobs_account ON jobs (account) WHERE account IS NOT NULL;
