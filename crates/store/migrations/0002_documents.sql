CREATE TABLE documents (
    account {text} NOT NULL,
    kind {text} NOT NULL,
    id {bytes} NOT NULL,
    name {bytes},
    at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    members BIGINT NOT NULL,
    key {bytes} NOT NULL,
    body {bytes} NOT NULL,
    PRIMARY KEY (account, kind, id)
){keyed};
CREATE UNIQUE INDEX documents_name ON documents (account, kind, name) WHERE name IS NOT NULL;
CREATE INDEX documents_at ON documents (account, kind, at, id);
CREATE INDEX documents_key ON documents (account, key);
CREATE INDEX documents_oldest ON documents (kind, at, account, id);

CREATE TABLE members (
    account {text} NOT NULL,
    list {bytes} NOT NULL,
    member {bytes} NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (account, list, member)
){keyed};
CREATE INDEX members_member ON members (account, member, list);
