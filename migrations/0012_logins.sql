-- Logins at the OpenID provider: what people are shown of them, and by what they are deleted.

ALTER TABLE person_logins ADD COLUMN id TEXT;    -- sorts by created_at
ALTER TABLE person_logins ADD COLUMN label TEXT; -- what the provider called the person: shown, and never compared

CREATE UNIQUE INDEX person_logins_by_id ON person_logins (id);
