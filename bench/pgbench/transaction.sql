\set state random(1, :states)
BEGIN;
INSERT INTO processed (id) VALUES (gen_random_uuid());
UPDATE states SET version = version + 1, at = now() WHERE id = :state;
INSERT INTO outbox (topic, key, payload, headers) VALUES ('ecommerce.orders.created', :state, :payload, :headers);
END;
