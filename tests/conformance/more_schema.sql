-- What more_cases.json needs besides schema.sql.
CREATE TABLE notes (id integer PRIMARY KEY, title text NOT NULL, n integer NOT NULL DEFAULT 0);
INSERT INTO notes VALUES (1, 'first', 10), (2, 'second', 20), (3, 'third', 30), (4, 'fourth', 40);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO h1_anon;
CREATE FUNCTION text_length(text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT length($1) $$;
CREATE FUNCTION byte_count(bytea) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT octet_length($1) $$;
CREATE FUNCTION root_name(xml) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1::text $$;
CREATE FUNCTION zone() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('TimeZone') $$;
CREATE TABLE crowd (id integer PRIMARY KEY);
INSERT INTO crowd SELECT generate_series(1, 1000);
GRANT SELECT ON crowd TO h1_anon;
ANALYZE crowd;
