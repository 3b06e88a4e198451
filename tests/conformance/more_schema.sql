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

-- Views show the keys of their tables, also of tables that REST does not show, and through other views.
CREATE VIEW shop_names AS SELECT id AS shop, upper(name) AS name FROM shops;
CREATE VIEW crew AS SELECT m.id, m.shop_id AS works_at, m.full_name, (SELECT s.id FROM shops s WHERE s.city = 'Bergen') AS other
  FROM mechanics m;
CREATE VIEW crew_names AS SELECT id AS mechanic, works_at, full_name FROM crew WHERE id > 0 ORDER BY full_name;
CREATE VIEW profiles AS SELECT shop_id, website FROM shop_profile;
CREATE TABLE internal.boxes (id integer PRIMARY KEY, label text, inside integer REFERENCES internal.boxes (id));
CREATE TABLE internal.things (id integer PRIMARY KEY, box_id integer REFERENCES internal.boxes (id), name text);
INSERT INTO internal.boxes VALUES (1, 'big', NULL), (2, 'small', 1), (3, 'tiny', 2);
INSERT INTO internal.things VALUES (1, 1, 'lamp'), (2, 2, 'pen'), (3, 2, 'cup');
CREATE VIEW boxes AS SELECT * FROM internal.boxes;
CREATE VIEW things AS SELECT * FROM internal.things;
CREATE TABLE staff (id integer PRIMARY KEY, name text, chief integer REFERENCES staff (id));
INSERT INTO staff VALUES (1, 'Ada', NULL), (2, 'Bo', 1), (3, 'Cy', 1), (4, 'Di', 2);
GRANT UPDATE ON things TO h1_anon;
GRANT SELECT ON shop_names, crew, crew_names, profiles, boxes, things, staff TO h1_anon;

-- Computed relationships.
CREATE FUNCTION best_mechanic(shops) RETURNS SETOF mechanics ROWS 1 LANGUAGE sql STABLE AS
$$ SELECT * FROM mechanics WHERE shop_id = $1.id ORDER BY hourly DESC NULLS LAST, id LIMIT 1 $$;
CREATE FUNCTION rivals(shops) RETURNS SETOF shops LANGUAGE sql STABLE AS
$$ SELECT * FROM shops WHERE city = $1.city AND id <> $1.id $$;
CREATE FUNCTION staff_above(staff) RETURNS SETOF staff LANGUAGE sql STABLE AS
$$ WITH RECURSIVE up AS (SELECT s.*, 1 AS n FROM staff s WHERE s.id = $1.chief
     UNION ALL SELECT s.*, n + 1 FROM staff s JOIN up ON s.id = up.chief) SELECT id, name, chief FROM up ORDER BY n $$;

-- Functions that write.
CREATE FUNCTION retitle(up_to integer) RETURNS SETOF notes LANGUAGE sql VOLATILE AS
$$ UPDATE notes SET title = 'retitled' WHERE id <= up_to RETURNING * $$;
CREATE FUNCTION renumber(note integer) RETURNS notes LANGUAGE sql VOLATILE AS
$$ UPDATE notes SET n = n + 1 WHERE id = note RETURNING * $$;
CREATE FUNCTION forget(note integer) RETURNS void LANGUAGE sql VOLATILE AS $$ DELETE FROM notes WHERE id = note $$;
CREATE FUNCTION only_looks() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT count(*) FROM crowd $$;
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE moods (id integer PRIMARY KEY, mood mood NOT NULL DEFAULT 'glad', past mood[]);
GRANT SELECT, INSERT, UPDATE, DELETE ON moods TO h1_anon;
CREATE FUNCTION with_mood(wanted mood) RETURNS SETOF moods LANGUAGE sql STABLE AS
$$ SELECT * FROM moods WHERE mood = wanted ORDER BY id $$;

-- Views with the keys of their tables, and one that stands for a junction.
CREATE VIEW note_titles AS SELECT upper(title) AS loud, id AS note, title, n FROM notes;
CREATE TABLE internal.part_of (thing integer REFERENCES internal.things (id), box integer REFERENCES internal.boxes (id), PRIMARY KEY (thing, box));
INSERT INTO internal.part_of VALUES (1, 2), (1, 3), (2, 3);
CREATE VIEW parts_of_boxes AS SELECT box, thing FROM internal.part_of;
GRANT SELECT, INSERT, UPDATE, DELETE ON note_titles TO h1_anon;
GRANT SELECT ON parts_of_boxes TO h1_anon;

-- Functions that answer with something else than JSON.
CREATE DOMAIN "text/html" AS text;
CREATE DOMAIN "image/x-dots" AS bytea;
CREATE DOMAIN "*/*" AS bytea;
CREATE FUNCTION page(title text) RETURNS "text/html" LANGUAGE sql STABLE AS $$ SELECT '<h1>' || title || E'</h1>\n<p>' $$;
CREATE FUNCTION dots(n integer) RETURNS "image/x-dots" LANGUAGE sql STABLE AS $$ SELECT decode(repeat('80', n), 'hex') $$;
CREATE FUNCTION file(name text) RETURNS "*/*" LANGUAGE sql STABLE AS $$
  SELECT set_config('response.headers', json_build_array(json_build_object('Content-Type', 'font/' || name))::text, true);
  SELECT convert_to(name, 'UTF8') $$;
CREATE FUNCTION greeting(whom text DEFAULT 'you') RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'hello "' || whom || '"' $$;
CREATE FUNCTION greeting_bytes() RETURNS bytea LANGUAGE sql STABLE AS $$ SELECT 'hello'::bytea $$;
CREATE FUNCTION greeting_xml() RETURNS xml LANGUAGE sql STABLE AS $$ SELECT '<hello/>'::xml $$;
CREATE FUNCTION rename_note(note integer, name text) RETURNS "text/html" LANGUAGE sql VOLATILE AS
$$ UPDATE notes SET title = name WHERE id = note RETURNING '<b>' || title || E'</b>\nnew' $$;

-- In the place of PostGIS, which has a function of this name.
CREATE FUNCTION st_asgeojson(r record) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN json_build_object('type', 'Feature', 'geometry', NULL, 'properties', row_to_json(r))::text;
END $$;

-- Media types of a table's rows.
CREATE DOMAIN "text/x-lines" AS text;
CREATE DOMAIN "image/x-initials" AS bytea;
CREATE FUNCTION add_line(lines "text/x-lines", s staff) RETURNS "text/x-lines" LANGUAGE sql IMMUTABLE AS $$ SELECT lines || s.id || ' ' || s.name || E'\n' $$;
CREATE AGGREGATE staff_lines(staff) (SFUNC = add_line, STYPE = "text/x-lines", INITCOND = '');
CREATE FUNCTION add_initial(initials "image/x-initials", s staff) RETURNS "image/x-initials" LANGUAGE sql IMMUTABLE AS $$ SELECT initials || convert_to(left(s.name, 1), 'UTF8') $$;
CREATE AGGREGATE staff_initials(staff) (SFUNC = add_initial, STYPE = "image/x-initials", INITCOND = '');

-- Domains that say how their values look outside.
CREATE DOMAIN hue AS integer CHECK (VALUE BETWEEN 0 AND 16777215);
CREATE FUNCTION hue(text) RETURNS hue LANGUAGE sql IMMUTABLE AS $$ SELECT (('x' || lpad(ltrim($1, '#'), 8, '0'))::bit(32)::integer)::hue $$;
CREATE FUNCTION hue(json) RETURNS hue LANGUAGE sql IMMUTABLE AS $$ SELECT hue($1 #>> '{}') $$;
CREATE FUNCTION hue_json(hue) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT to_json('#' || lpad(to_hex($1), 6, '0')) $$;
CREATE CAST (hue AS json) WITH FUNCTION hue_json(hue) AS IMPLICIT;
CREATE CAST (json AS hue) WITH FUNCTION hue(json) AS IMPLICIT;
CREATE CAST (text AS hue) WITH FUNCTION hue(text) AS IMPLICIT;
CREATE DOMAIN cents AS bigint;
CREATE FUNCTION cents_json(cents) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN $1 IS NOT NULL THEN json_build_object('amount', round($1 / 100.0, 2), 'unit', 'kr') END $$;
CREATE FUNCTION cents_text(cents) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ($1 / 100)::text || ',' || lpad(($1 % 100)::text, 2, '0') $$;
CREATE CAST (cents AS json) WITH FUNCTION cents_json(cents) AS IMPLICIT;
CREATE CAST (cents AS text) WITH FUNCTION cents_text(cents) AS IMPLICIT;
CREATE TABLE paints (id integer PRIMARY KEY, tone hue DEFAULT 255, price cents, base integer REFERENCES paints (id), name text);
CREATE TABLE weak_paints (id integer PRIMARY KEY, tone hue DEFAULT 255, name text);
COMMENT ON TABLE weak_paints IS '@caucus weak';
CREATE VIEW bright_paints AS SELECT id, tone, name FROM paints WHERE tone > 255;
CREATE FUNCTION paints_over(at_least integer) RETURNS SETOF paints LANGUAGE sql STABLE AS $$ SELECT * FROM paints WHERE tone >= at_least ORDER BY id $$;
INSERT INTO paints (id, tone, price, base, name) VALUES (1, 16711680, 1250, NULL, 'red'), (2, 65280, NULL, 1, 'green'), (3, 16711680, 99, 1, 'red too');
GRANT SELECT, INSERT, UPDATE, DELETE ON paints, weak_paints, bright_paints TO h1_anon;

-- Functions that return other rows than a table's, lists of arguments, and what triggers say about answers.
CREATE FUNCTION returns_record() RETURNS record LANGUAGE sql STABLE AS $$ SELECT id, name FROM shops ORDER BY id LIMIT 1 $$;
CREATE FUNCTION returns_setof_record(from_id integer) RETURNS SETOF record LANGUAGE sql STABLE AS $$ SELECT id, name FROM shops WHERE id >= from_id ORDER BY id $$;
CREATE DOMAIN shop_domain AS shops;
CREATE FUNCTION shop_by_domain(key integer) RETURNS SETOF shop_domain LANGUAGE sql STABLE AS $$ SELECT s::shop_domain FROM shops s WHERE id = key $$;
CREATE TYPE point_2d AS (x integer, y integer);
CREATE FUNCTION ret_point() RETURNS point_2d LANGUAGE sql STABLE AS $$ SELECT 10, 5 $$;
CREATE FUNCTION ret_points() RETURNS SETOF point_2d LANGUAGE sql STABLE AS $$ VALUES (10, 5), (1,2) $$;
CREATE DOMAIN point_domain AS point_2d;
CREATE FUNCTION ret_point_domain() RETURNS point_domain LANGUAGE sql STABLE AS $$ SELECT ROW(10, 5)::point_domain $$;
CREATE FUNCTION cookies() RETURNS void LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM set_config('response.headers', '[{"Set-Cookie": "a=1"}, {"Set-Cookie": "b=2"}, {"Content-Range": "x"}]', true); END $$;
CREATE TABLE stuff (id integer PRIMARY KEY, name text);
CREATE FUNCTION say_stuff() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 IF tg_op = 'INSERT' THEN PERFORM set_config('response.headers', json_build_array(json_build_object('Location', '/stuff?id=eq.' || NEW.id || '&overriden=true'))::text, true); ELSE PERFORM set_config('response.status', '205', true); END IF; RETURN NEW; END $$;
CREATE TRIGGER say_stuff BEFORE INSERT OR UPDATE ON stuff FOR EACH ROW EXECUTE FUNCTION say_stuff();
GRANT ALL ON stuff TO h1_anon;
CREATE FUNCTION vari(VARIADIC v text[] DEFAULT '{}') RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT v $$;
CREATE FUNCTION below(id int) RETURNS SETOF shops LANGUAGE sql STABLE AS $$ SELECT * FROM shops WHERE shops.id < $1 $$;

-- Tables that a role may write and not read, or not all of; and defaults of domains.
CREATE TABLE letters (id integer PRIMARY KEY, v text);
CREATE TABLE weak_letters (id integer PRIMARY KEY, v text);
COMMENT ON TABLE weak_letters IS '@caucus weak';
GRANT INSERT ON letters, weak_letters TO h1_anon;
CREATE TABLE half_seen (id integer PRIMARY KEY, v text, secret text DEFAULT 's');
INSERT INTO half_seen VALUES (1, 'a', 'x'), (4, 'd', 'x');
GRANT SELECT (id, v), INSERT (id, v), UPDATE (v, secret), DELETE ON half_seen TO h1_anon;
CREATE TABLE ballots (id integer PRIMARY KEY, who text DEFAULT current_user);
ALTER TABLE ballots ENABLE ROW LEVEL SECURITY;
CREATE POLICY cast_one ON ballots FOR INSERT WITH CHECK (id > 0);
GRANT SELECT, INSERT ON ballots TO h1_anon;
CREATE FUNCTION ballots_cast() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT count(*) FROM ballots $$;
CREATE FUNCTION letters_sent() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT count(*) FROM letters $$;
CREATE DOMAIN evil_id AS integer DEFAULT 666;
CREATE TABLE evil_friends (id evil_id PRIMARY KEY, name text);
GRANT SELECT, INSERT ON evil_friends TO h1_anon;
