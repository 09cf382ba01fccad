-- A clock that the property test of the outbox sets: now() for the connections of the test and its workers.
CREATE SCHEMA clock;
CREATE TABLE clock.present (at timestamptz NOT NULL);
INSERT INTO clock.present VALUES (pg_catalog.now());
CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql RETURN (SELECT at FROM clock.present);
GRANT USAGE ON SCHEMA clock TO PUBLIC;
GRANT SELECT, UPDATE ON clock.present TO PUBLIC;
ALTER TABLE windsock.messages ALTER COLUMN created_at SET DEFAULT clock.now();
ALTER FUNCTION windsock.due_messages() SET search_path = clock, pg_catalog, windsock, pg_temp;
