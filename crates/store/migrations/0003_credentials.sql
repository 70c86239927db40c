ALTER TABLE tokens ADD COLUMN scopes {text};
ALTER TABLE tokens ADD COLUMN label {bytes};
ALTER TABLE tokens ADD COLUMN expires_at BIGINT;
ALTER TABLE tokens ADD COLUMN used_day BIGINT;
ALTER TABLE tokens ADD COLUMN successor {text};
ALTER TABLE tokens ADD COLUMN person {text};

CREATE TABLE users (
    account {text} NOT NULL,
    id {bytes} NOT NULL,
    email {bytes} NOT NULL,
    role {text} NOT NULL,
    created_at BIGINT NOT NULL,
    joined_at BIGINT,
    disabled_at BIGINT,
    body {bytes} NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (account, id)
){keyed};
CREATE UNIQUE INDEX users_email ON users (account, email);

CREATE TABLE sessions (
    account {text} NOT NULL,
    hash {bytes} NOT NULL,
    user_id {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    note {bytes} NOT NULL,
    PRIMARY KEY (account, hash)
){keyed};
CREATE UNIQUE INDEX sessions_hash ON sessions (hash);
CREATE INDEX sessions_user ON sessions (account, user_id);
CREATE INDEX sessions_created ON sessions (created_at);

CREATE TABLE challenges (
    account {text} NOT NULL,
    hash {bytes} NOT NULL,
    user_id {bytes} NOT NULL,
    purpose {text} NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (account, hash)
){keyed};
CREATE INDEX challenges_expires ON challenges (expires_at);
