-- Agents whose tokens must be bound to a key (RFC 9449 §5.2, `dpop_bound_access_tokens`). 1: none that is not bound is good.

ALTER TABLE agents ADD COLUMN dpop_required INTEGER NOT NULL DEFAULT 0;
