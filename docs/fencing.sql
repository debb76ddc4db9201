-- Fencing tokens in a database (standard SQL): a row remembers the highest token that wrote it, and a
-- statement with a lower one changes nothing. The check and the write are one statement, so nothing
-- can come between them. Tokens are unsigned and below 2^63: BIGINT holds them.

CREATE TABLE account (
  id      BIGINT PRIMARY KEY,
  balance BIGINT NOT NULL,
  token   BIGINT NOT NULL DEFAULT 0
);

-- The holder passes its token (here 1099511627781). No row changed means: fenced off, stop.
UPDATE account
   SET balance = 90, token = 1099511627781
 WHERE id = 7 AND token <= 1099511627781;

-- Where the data have no room for a token, a table of gates has, in the same transaction as the write:
CREATE TABLE gate (lock_name VARCHAR(64) PRIMARY KEY, token BIGINT NOT NULL);

UPDATE gate SET token = 1099511627781
 WHERE lock_name = 'orders/17' AND token <= 1099511627781;
-- one row changed: write, commit. None: roll back.
