-- Browsers that logged in before: their attempts have a counter of their own.

CREATE TABLE devices (
    user          TEXT NOT NULL,
    digest        TEXT NOT NULL,        -- SHA-256 of the cookie's value
    last_login_at TEXT NOT NULL,
    PRIMARY KEY (user, digest)
) STRICT, WITHOUT ROWID;
