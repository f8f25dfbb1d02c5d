-- People: who they are, how they sign in, what they may do, and which agents are theirs.

CREATE TABLE people (
  id TEXT PRIMARY KEY,                    -- sorts by created_at
  email TEXT NOT NULL UNIQUE,             -- trimmed, in lower case, ASCII only
  name TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('admin', 'owner', 'auditor')),
  status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
  created_by TEXT NOT NULL,               -- JSON {type, id, name}
  created_at INTEGER NOT NULL,
  joined_at INTEGER,                      -- when a passkey or a login was first bound to the person; null: only a link signs in
  enrolled_at INTEGER,                    -- when the first passkey was enrolled, also if it has been deleted
  last_signed_in_at INTEGER,
  change_id TEXT
) STRICT, WITHOUT ROWID;

-- A person who is signed in. The cookie has the token, of which this is the hash.
CREATE TABLE person_sessions (
  id TEXT PRIMARY KEY,                    -- sorts by created_at
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  hash TEXT NOT NULL UNIQUE,              -- SHA-256
  method TEXT NOT NULL CHECK (method IN ('passkey', 'oidc', 'link')),
  auth_time INTEGER NOT NULL,             -- when the person last proved who they are
  enrol_until INTEGER,                    -- until when a passkey may be enrolled without an existing one; null: never
  created_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,          -- to within some minutes
  expires_at INTEGER NOT NULL,
  ip_address TEXT NOT NULL,               -- that signed in; '': not known
  user_agent TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX person_sessions_by_person ON person_sessions (person_id);
CREATE INDEX person_sessions_by_expiry ON person_sessions (expires_at);

CREATE TABLE passkeys (
  id TEXT PRIMARY KEY,                    -- sorts by created_at
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  credential_id TEXT NOT NULL UNIQUE,     -- base64url
  public_key TEXT NOT NULL,               -- JSON {alg, jwk}
  counter INTEGER NOT NULL,               -- of the last assertion; 0: the authenticator does not count
  label TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  decides_from INTEGER NOT NULL,          -- when it may first confirm an act
  last_used_at INTEGER,
  last_challenge TEXT                     -- that it answered
) STRICT, WITHOUT ROWID;

CREATE INDEX passkeys_by_person ON passkeys (person_id);

-- A login at the OpenID provider, bound to a person at an invitation or by the person.
CREATE TABLE person_logins (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX person_logins_by_person ON person_logins (person_id);

-- Links that sign a person in once, to enrol a passkey: an invitation, or a recovery.
CREATE TABLE sign_in_links (
  id TEXT PRIMARY KEY,
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  hash TEXT NOT NULL UNIQUE,              -- SHA-256 of the token
  created_by TEXT NOT NULL,               -- JSON {type, id, name}
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  session_id TEXT                         -- that it opened
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_links_by_person ON sign_in_links (person_id);
CREATE INDEX sign_in_links_by_expiry ON sign_in_links (expires_at);

-- Challenges of WebAuthn that were answered: each is good once.
CREATE TABLE used_challenges (
  id TEXT PRIMARY KEY,                    -- base64url
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_challenges_by_expiry ON used_challenges (expires_at);

-- What a person is told: what happened to them, and to administrators what happened to others.
CREATE TABLE person_notices (
  id TEXT NOT NULL,                       -- sorts by at
  to_person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  about TEXT NOT NULL,                    -- JSON {type, id, name}
  actor TEXT NOT NULL,                    -- JSON {type, id, name}
  PRIMARY KEY (to_person_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX person_notices_by_age ON person_notices (at);

-- Who owns the agent. An administrator says so; an address that is equal only suggests it.
ALTER TABLE agents ADD COLUMN owner_person_id TEXT;

CREATE INDEX agents_by_owner_person ON agents (owner_person_id, created_at, id) WHERE owner_person_id IS NOT NULL;

CREATE TRIGGER people_gone AFTER DELETE ON people BEGIN
  UPDATE agents SET owner_person_id = NULL WHERE owner_person_id = old.id;
END;
