// What Caucus keeps in PostgreSQL: the schema `caucus`, statement by statement. Format 2. docs/OPERATING.md describes it.
#ifndef PROXY_BOOTSTRAP_SQL_H
#define PROXY_BOOTSTRAP_SQL_H

enum { BOOTSTRAP_FORMAT = 2 }; // of format 1 is a history with a row for each change set: it is converted

// Settings of functions that look at values as texts.
#define TEXT_FORMS \
    "\n  SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1\n" \
    "  SET bytea_output = 'hex' SET xmloption = 'content' SET lc_monetary = 'C' SET row_security = off"

// Change sets of weak tables (src/crdt/change.h), own and received. A row holds `sets` of one origin that follow each other up to number
// `sequence`, `bytes` in all, with stamps from `since` to `stamp`. rows: crdt_row_hash of each row, see docs/adr/history-index.md; where
// there is more than one set, each has one row, and its hash stands in the same place.
// toast_tuple_target: what a transaction brings stays in the page, only large sets go elsewhere.
#define HISTORY_TABLE \
    "CREATE TABLE caucus.history (replica bigint, incarnation bigint, sequence bigint, sets integer NOT NULL, bytes bigint NOT NULL, " \
    "since text NOT NULL, stamp text NOT NULL, changes bytea[] NOT NULL, rows bigint[], PRIMARY KEY (replica, incarnation, sequence)) " \
    "WITH (toast_tuple_target = 8160)"

// Run in one transaction when there is no schema caucus.
static const char *const bootstrap_tables[] = {
    "CREATE SCHEMA caucus",
    "GRANT USAGE ON SCHEMA caucus TO PUBLIC",

    // Whose database this is. One row.
    "CREATE TABLE caucus.meta (one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL, cluster text NOT NULL, "
    "replica bigint NOT NULL, incarnation bigint NOT NULL, functions bigint NOT NULL DEFAULT 0)",

    // The index of the last entry whose effects are here. One row, updated in every transaction of the strong lane: kept short.
    "CREATE TABLE caucus.applied (applied bigint NOT NULL) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0)",
    "INSERT INTO caucus.applied VALUES (0)",
    "GRANT SELECT ON caucus.applied TO PUBLIC",

    // What is drawn once for the whole cluster, replicated by the log: session_key (64 hex digits).
    "CREATE TABLE caucus.cluster (name text PRIMARY KEY, value text NOT NULL)",

    // For every origin of weak changes the sequence number up to which all are here, and the stamp of that change.
    "CREATE TABLE caucus.frontier (replica bigint, incarnation bigint, sequence bigint NOT NULL, stamp text NOT NULL, "
    "PRIMARY KEY (replica, incarnation)) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0)",
    "GRANT SELECT ON caucus.frontier TO PUBLIC",

    // Outcomes under the client's Idempotency-Key.
    "CREATE TABLE caucus.requests (principal text, key text, fingerprint bytea NOT NULL, outcome bytea NOT NULL, "
    "at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (principal, key))",

    "CREATE TABLE caucus.migrations (position integer PRIMARY KEY, name text NOT NULL UNIQUE, sql text NOT NULL, index bigint, "
    "at timestamptz NOT NULL DEFAULT now())",

    HISTORY_TABLE,

    // Weak rows that are not to be seen: when they were deleted, and what of them may come back (src/crdt/row.h).
    "CREATE TABLE caucus.tombstones (\"table\" text, key bytea, death text NOT NULL, remains bytea NOT NULL, PRIMARY KEY (\"table\", key))",

    // Where capture triggers put row images until the writer takes them, within one transaction.
    "CREATE UNLOGGED TABLE caucus.capture (seq bigint GENERATED ALWAYS AS IDENTITY, relation oid NOT NULL, operation \"char\" NOT NULL, "
    "old text, new text) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0)",
};

// Run after the tables, and again whenever their text has changed. First what tables of older programs lack.
static const char *const bootstrap_functions[] = {
    // Digests of weak tables, kept up by the transactions that change them (src/crdt/digest.h); shape: the columns they cover.
    "CREATE TABLE IF NOT EXISTS caucus.digests (\"table\" text PRIMARY KEY, shape text NOT NULL, rows bigint NOT NULL, sum bigint NOT NULL) "
    "WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0)",

    "ALTER TABLE caucus.history ADD COLUMN IF NOT EXISTS rows bigint[]",
    // A history of format 1.
    "DO $$ BEGIN\n"
    "  IF EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'caucus.history'::regclass AND attname = 'change' AND NOT attisdropped) THEN\n"
    "    ALTER TABLE caucus.history RENAME TO history_1;\n"
    "    ALTER INDEX caucus.history_pkey RENAME TO history_1_pkey;\n"
    "    DROP INDEX IF EXISTS caucus.history_stamp;\n"
    "    " HISTORY_TABLE ";\n"
    "    INSERT INTO caucus.history SELECT replica, incarnation, sequence, 1, octet_length(change), stamp, stamp, ARRAY[change], rows FROM caucus.history_1\n"
    "      ORDER BY stamp COLLATE \"C\";\n"
    "    DROP TABLE caucus.history_1;\n"
    "  END IF;\n"
    "END $$",
    // Sets of many rows: a quarter of what PostgreSQL's own compression costs. Not every PostgreSQL has it.
    "DO $$ BEGIN ALTER TABLE caucus.history ALTER COLUMN changes SET COMPRESSION lz4; EXCEPTION WHEN feature_not_supported THEN NULL; END $$",
    // What was collected: tombstones may be gone up to this stamp; the newest change set dropped of each origin's history.
    "CREATE TABLE IF NOT EXISTS caucus.garbage (one boolean PRIMARY KEY DEFAULT true CHECK (one), bound bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS caucus.dropped (replica bigint, incarnation bigint, sequence bigint NOT NULL, stamp text NOT NULL, "
    "sets bigint NOT NULL, PRIMARY KEY (replica, incarnation))",
    // Members with which a comparison that was asked for is still to be done.
    "CREATE TABLE IF NOT EXISTS caucus.comparisons (member bigint PRIMARY KEY)",
    "CREATE INDEX IF NOT EXISTS requests_at ON caucus.requests USING brin (at) WITH (pages_per_range = 16)",
    // Which rows the sets of a range are of, by the low 31 bits of their hashes: made behind the writers' backs (docs/adr/history-index.md).
    "DROP INDEX IF EXISTS caucus.history_rows",
    "CREATE TABLE IF NOT EXISTS caucus.history_blocks (replica bigint, incarnation bigint, first bigint, last bigint NOT NULL, "
    "rows integer[] NOT NULL, PRIMARY KEY (replica, incarnation, first)) WITH (toast_tuple_target = 8160)",
    "CREATE INDEX IF NOT EXISTS history_stamp ON caucus.history USING brin (since COLLATE \"C\", stamp COLLATE \"C\") WITH (pages_per_range = 16)",

    // Time of a change set, as stamps begin with it: 8 bytes of its head, the last first.
    "CREATE OR REPLACE FUNCTION caucus.time_of(change bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$\n"
    "  SELECT lpad(to_hex((get_byte(change, 24)::bigint << 56) | (get_byte(change, 23)::bigint << 48) | (get_byte(change, 22)::bigint << 40)\n"
    "    | (get_byte(change, 21)::bigint << 32) | (get_byte(change, 20)::bigint << 24) | (get_byte(change, 19) << 16) | (get_byte(change, 18) << 8)\n"
    "    | get_byte(change, 17)), 16, '0')\n"
    "$$",

    // The next block of each origin, if there are sets or rows enough for it: 960 hashes fill half a page. How many blocks were made.
    "CREATE OR REPLACE FUNCTION caucus.index_history() RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off SET enable_sort = off AS $$\n"
    "DECLARE\n"
    "  f record;\n"
    "  r record;\n"
    "  done bigint;\n"
    "  start bigint;\n"
    "  size integer;\n"
    "  hashes bigint[];\n"
    "  n bigint := 0;\n"
    "BEGIN\n"
    "  FOR f IN SELECT replica, incarnation FROM caucus.frontier LOOP\n"
    "    done := coalesce((SELECT b.last FROM caucus.history_blocks b WHERE b.replica = f.replica AND b.incarnation = f.incarnation\n"
    "      ORDER BY b.first DESC LIMIT 1), 0);\n"
    "    size := 0;\n"
    "    hashes := '{}';\n"
    "    FOR r IN SELECT h.sequence, h.sets, h.rows FROM caucus.history h WHERE h.replica = f.replica AND h.incarnation = f.incarnation\n"
    "      AND h.sequence > done ORDER BY h.sequence LOOP\n"
    "      start := CASE WHEN size = 0 THEN r.sequence - r.sets + 1 ELSE start END;\n"
    "      size := size + greatest(r.sets, cardinality(r.rows));\n"
    "      hashes := hashes || r.rows;\n"
    "      EXIT WHEN size >= 960;\n"
    "    END LOOP;\n"
    "    CONTINUE WHEN size < 960;\n"
    "    INSERT INTO caucus.history_blocks SELECT f.replica, f.incarnation, start, r.sequence, coalesce(array_agg(DISTINCT (h & 2147483647)::integer), '{}')\n"
    "      FROM unnest(hashes) h;\n"
    "    n := n + 1;\n"
    "  END LOOP;\n"
    "  RETURN n;\n"
    "END $$",

    // The sets that have a row of this hash, with the beginnings of their stamps: from the blocks that may have it, and behind the blocks.
    "CREATE OR REPLACE FUNCTION caucus.history_of(hash bigint) RETURNS TABLE (change bytea, stamp text) LANGUAGE plpgsql STABLE\n"
    "  SET enable_seqscan = off AS $$\n"
    "DECLARE\n"
    "  b record;\n"
    "BEGIN\n"
    "  FOR b IN SELECT k.replica, k.incarnation, k.first, k.last FROM caucus.history_blocks k WHERE k.rows @> ARRAY[(hash & 2147483647)::integer]\n"
    "    UNION ALL SELECT f.replica, f.incarnation, coalesce((SELECT k.last FROM caucus.history_blocks k WHERE k.replica = f.replica\n"
    "      AND k.incarnation = f.incarnation ORDER BY k.first DESC LIMIT 1), 0) + 1, 9223372036854775807 FROM caucus.frontier f\n"
    "  LOOP\n"
    "    RETURN QUERY SELECT c.change, CASE WHEN h.sets = 1 THEN h.stamp ELSE caucus.time_of(c.change) END FROM caucus.history h,\n"
    "      unnest(h.changes) WITH ORDINALITY AS c(change, n) WHERE h.replica = b.replica AND h.incarnation = b.incarnation\n"
    "      AND h.sequence BETWEEN b.first AND b.last AND h.rows @> ARRAY[hash] AND (h.sets = 1 OR h.rows[c.n] = hash);\n"
    "  END LOOP;\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.guard() RETURNS trigger LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  RAISE EXCEPTION 'table \"%\" is replicated by Caucus', TG_TABLE_NAME\n"
    "    USING ERRCODE = 'insufficient_privilege', HINT = 'Write to it through Caucus (HTTP), not directly.';\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  RAISE EXCEPTION 'TRUNCATE of table \"%\" within a write is not replicated', TG_TABLE_NAME\n"
    "    USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE, or TRUNCATE as a statement of a migration.';\n"
    "END $$",

    // Whether values have the texts that the other replicas read. The time zone only matters where texts are compared.
    "CREATE OR REPLACE FUNCTION caucus.has_forms(zone boolean) RETURNS boolean LANGUAGE plpgsql STABLE AS $$\n"
    "BEGIN\n"
    "  RETURN pg_catalog.concat_ws('|', pg_catalog.current_setting('DateStyle'), pg_catalog.current_setting('IntervalStyle'),\n"
    "      pg_catalog.current_setting('extra_float_digits'), pg_catalog.current_setting('bytea_output'), pg_catalog.current_setting('lc_monetary'))\n"
    "    OPERATOR(pg_catalog.=) 'ISO, YMD|postgres|1|hex|C' AND (NOT zone OR pg_catalog.current_setting('TimeZone') OPERATOR(pg_catalog.=) 'UTC');\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.row_text(image anyelement) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp"
    TEXT_FORMS " AS $$\n"
    "BEGIN\n"
    "  RETURN image::text;\n"
    "END $$",

    // It runs with the rights of its owner in sessions whose settings may be anybody's: all names are qualified.
    "CREATE OR REPLACE FUNCTION caucus.capture_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$\n"
    "BEGIN\n"
    "  IF caucus.has_forms(true) THEN\n"
    "    INSERT INTO caucus.capture (relation, operation, old, new)\n"
    "    VALUES (TG_RELID, pg_catalog.left(TG_OP, 1)::pg_catalog.\"char\",\n"
    "            CASE WHEN TG_OP OPERATOR(pg_catalog.<>) 'INSERT' THEN OLD::pg_catalog.text END,\n"
    "            CASE WHEN TG_OP OPERATOR(pg_catalog.<>) 'DELETE' THEN NEW::pg_catalog.text END);\n"
    "  ELSE\n"
    "    INSERT INTO caucus.capture (relation, operation, old, new)\n"
    "    VALUES (TG_RELID, pg_catalog.left(TG_OP, 1)::pg_catalog.\"char\",\n"
    "            CASE WHEN TG_OP OPERATOR(pg_catalog.<>) 'INSERT' THEN caucus.row_text(OLD) END,\n"
    "            CASE WHEN TG_OP OPERATOR(pg_catalog.<>) 'DELETE' THEN caucus.row_text(NEW) END);\n"
    "  END IF;\n"
    "  RETURN NULL;\n"
    "END $$",

    // Positions of all sequences, and of one; NULL: it has not been drawn from.
    "CREATE OR REPLACE FUNCTION caucus.sequences() RETURNS TABLE (name text, last_value bigint) LANGUAGE sql STABLE SECURITY DEFINER\n"
    "SET search_path = pg_catalog, pg_temp AS $$\n"
    "  SELECT format('%I.%I', s.schemaname, s.sequencename), s.last_value FROM pg_sequences s\n"
    "  WHERE s.schemaname <> 'caucus' AND s.last_value IS NOT NULL ORDER BY 1\n"
    "$$",

    "CREATE OR REPLACE FUNCTION caucus.sequence_at(name text) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$\n"
    "BEGIN\n"
    "  RETURN pg_catalog.pg_sequence_last_value(name::pg_catalog.regclass);\n"
    "END $$",

    // After SET CONSTRAINTS ALL IMMEDIATE: as it is at the start of a transaction.
    "CREATE OR REPLACE FUNCTION caucus.defer() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$\n"
    "BEGIN\n"
    "  EXECUTE (SELECT 'SET CONSTRAINTS ' || string_agg(format('%I.%I', n.nspname, c.conname), ', ') || ' DEFERRED'\n"
    "           FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.condeferred);\n"
    "END $$",

    // Undoes whatever code of users can leave in a session for whoever comes next; what it cannot undo makes it fail. So does a write
    // that has changed the texts in which its own rows were told, or has set its transaction read-only.
    "CREATE OR REPLACE FUNCTION caucus.clean(told boolean, weak boolean) RETURNS void LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  IF (told AND NOT caucus.has_forms(weak)) OR pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN\n"
    "    RAISE EXCEPTION 'settings were changed' USING ERRCODE = 'object_not_in_prerequisite_state';\n"
    "  END IF;\n"
    "  RESET ALL;\n"
    "  UNLISTEN *;\n"
    "  EXECUTE 'CLOSE ALL';\n" // cursors WITH HOLD run their query during COMMIT
    "  PERFORM pg_catalog.pg_advisory_unlock_all();\n"
    "  IF pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) '0' THEN\n"
    "    DISCARD TEMP;\n"
    "  END IF;\n"
    "END $$",

    // The class of a table: the first line of its comment.
    "CREATE OR REPLACE FUNCTION caucus.is_weak(relation oid) RETURNS boolean LANGUAGE sql STABLE AS $$\n"
    "  SELECT coalesce(pg_catalog.split_part(pg_catalog.obj_description(relation, 'pg_class'), E'\\n', 1) ~ '^\\s*@caucus\\s+weak\\s*$', false)\n"
    "$$",

    // What the first line of a column's comment states behind "@caucus", usually a merge type; NULL when it has no such line.
    "CREATE OR REPLACE FUNCTION caucus.merge_of(relation oid, attribute smallint) RETURNS text LANGUAGE sql STABLE AS $$\n"
    "  SELECT (pg_catalog.regexp_match(pg_catalog.split_part(pg_catalog.col_description(relation, attribute), E'\\n', 1), "
    "'^\\s*@caucus\\y\\s*(.*?)\\s*$'))[1]\n"
    "$$",

    "CREATE OR REPLACE FUNCTION caucus.type_name(type oid, modifier integer) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog AS $$\n"
    "  SELECT pg_catalog.format_type(type, modifier)\n"
    "$$",

    // A column's default as rows hold it (the type's output, which a cast to text is not for all types), when it is the same at all times
    // and places; otherwise NULL.
    "CREATE OR REPLACE FUNCTION caucus.constant_default(relation oid, attribute smallint) RETURNS text LANGUAGE plpgsql STABLE AS $$\n"
    "DECLARE\n"
    "  tree text;\n"
    "  expression text;\n"
    "  value text;\n"
    "BEGIN\n"
    "  SELECT d.adbin::text, pg_catalog.format('(%s)::%s', pg_catalog.pg_get_expr(d.adbin, d.adrelid), caucus.type_name(a.atttypid, a.atttypmod))\n"
    "  INTO tree, expression\n"
    "  FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum\n"
    "  WHERE d.adrelid = relation AND d.adnum = attribute AND a.attgenerated = '';\n"
    "  IF tree IS NULL OR tree ~ '\\{(VAR|SQLVALUEFUNCTION|NEXTVALUEEXPR|COERCEVIAIO|SUBLINK|PARAM) ' THEN\n"
    "    RETURN NULL;\n"
    "  END IF;\n"
    "  IF EXISTS (SELECT FROM pg_catalog.regexp_matches(tree, ':(?:funcid|opfuncid) (\\d+)', 'g') AS m(groups)\n"
    "             LEFT JOIN pg_catalog.pg_proc p ON p.oid = m.groups[1]::oid WHERE p.provolatile IS DISTINCT FROM 'i') THEN\n"
    "    RETURN NULL;\n"
    "  END IF;\n"
    "  EXECUTE 'SELECT CASE WHEN v IS DISTINCT FROM NULL THEN pg_catalog.concat(v) END FROM (SELECT ' || expression || ') AS d(v)' INTO value;\n"
    "  RETURN value;\n"
    "END $$",

    // Called when applying finds rows that should not be as they are.
    "CREATE OR REPLACE FUNCTION caucus.refuse(what text, expected bigint, actual bigint) RETURNS bigint LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  RAISE EXCEPTION '%: expected %, found %', what, expected, actual USING ERRCODE = 'CCDIV';\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.has_rows(name text) RETURNS boolean LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  any_row boolean;\n"
    "BEGIN\n"
    "  EXECUTE 'SELECT EXISTS (SELECT FROM ' || name::pg_catalog.regclass || ')' INTO any_row;\n"
    "  RETURN any_row;\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.digest_shape(relation oid) RETURNS text LANGUAGE sql STABLE AS $$\n"
    "  SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a\n"
    "  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> '_caucus'\n"
    "$$",

    // The digest of a table as src/crdt/digest.h defines it, by reading all rows. concat: the very text that clients get. As SQL: the
    // hash of the key of a row t, and what its other fields add to it.
    "CREATE OR REPLACE FUNCTION caucus.digest_sql(relation oid, OUT key text, OUT fields text) LANGUAGE plpgsql STABLE AS $$\n"
    "DECLARE\n"
    "  r record;\n"
    "BEGIN\n"
    "  key := '0::bigint';\n"
    "  fields := '';\n"
    "  FOR r IN SELECT a.attname FROM pg_catalog.pg_index x, unnest(x.indkey::smallint[]) WITH ORDINALITY AS k(attnum, n), pg_catalog.pg_attribute a\n"
    "    WHERE x.indrelid = relation AND x.indisprimary AND k.n <= x.indnkeyatts AND a.attrelid = relation AND a.attnum = k.attnum ORDER BY k.n LOOP\n"
    "    key := pg_catalog.format('hashtextextended(concat(t.%I) COLLATE \"C\", %s)', r.attname, key);\n"
    "  END LOOP;\n"
    "  FOR r IN SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped\n"
    "    AND a.attgenerated = '' AND a.attname <> '_caucus' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = relation\n"
    "      AND x.indisprimary AND a.attnum = ANY ((x.indkey::smallint[])[0:x.indnkeyatts - 1])) LOOP\n"
    "    fields := fields || pg_catalog.format(' # CASE WHEN t.%1$I IS NOT DISTINCT FROM NULL THEN 0 ELSE '\n"
    "      'hashtextextended(concat(t.%1$I) COLLATE \"C\", k.h # (%2$s)::bigint) END', r.attname,\n"
    "      hashtextextended(r.attname::text COLLATE \"C\", 0));\n"
    "  END LOOP;\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.digest(relation oid, OUT rows bigint, OUT sum bigint) LANGUAGE plpgsql STABLE" TEXT_FORMS " AS $$\n"
    "DECLARE\n"
    "  s record;\n"
    "BEGIN\n"
    "  SELECT * INTO s FROM caucus.digest_sql(relation);\n"
    "  EXECUTE pg_catalog.format('SELECT count(*), coalesce(bit_xor(k.h%s), 0) FROM %s t, LATERAL (SELECT %s AS h OFFSET 0) k', s.fields,\n"
    "    relation::regclass, s.key) INTO rows, sum;\n"
    "END $$",

    // The same of each of 4096 buckets of rows, by their key's hash; and of the rows of some of these, with their keys.
    "CREATE OR REPLACE FUNCTION caucus.digest_buckets(relation oid) RETURNS json LANGUAGE plpgsql STABLE" TEXT_FORMS " AS $$\n"
    "DECLARE\n"
    "  s record;\n"
    "  result json;\n"
    "BEGIN\n"
    "  SELECT * INTO s FROM caucus.digest_sql(relation);\n"
    "  EXECUTE pg_catalog.format('SELECT coalesce(json_object_agg(b.n, to_hex(b.x)), ''{}'') FROM (SELECT (k.h >> 52) & 4095 AS n, bit_xor(k.h%s) AS x '\n"
    "    'FROM %s t, LATERAL (SELECT %s AS h OFFSET 0) k GROUP BY 1) b', s.fields, relation::regclass, s.key) INTO result;\n"
    "  RETURN result;\n"
    "END $$",

    "CREATE OR REPLACE FUNCTION caucus.digest_rows(relation oid, buckets bigint[]) RETURNS json LANGUAGE plpgsql STABLE" TEXT_FORMS " AS $$\n"
    "DECLARE\n"
    "  s record;\n"
    "  result json;\n"
    "  key text;\n"
    "BEGIN\n"
    "  SELECT * INTO s FROM caucus.digest_sql(relation);\n"
    "  SELECT pg_catalog.string_agg(pg_catalog.format('concat(t.%I)', a.attname), ', ' ORDER BY k.n) INTO key FROM pg_catalog.pg_index x,\n"
    "    unnest(x.indkey::smallint[]) WITH ORDINALITY AS k(attnum, n), pg_catalog.pg_attribute a WHERE x.indrelid = relation AND x.indisprimary\n"
    "    AND k.n <= x.indnkeyatts AND a.attrelid = relation AND a.attnum = k.attnum;\n"
    "  EXECUTE pg_catalog.format('SELECT coalesce(json_agg(r.x), ''[]'') FROM (SELECT json_build_array(json_build_array(%s), to_hex(k.h%s)) AS x '\n"
    "    'FROM %s t, LATERAL (SELECT %s AS h OFFSET 0) k WHERE (k.h >> 52) & 4095 = ANY ($1) LIMIT 100000) r', key, s.fields, relation::regclass, s.key)\n"
    "    USING buckets INTO result;\n"
    "  RETURN result;\n"
    "END $$",

    // At the end of a migration: digests of weak tables that it made or changed. The lock waits for weak writes under way.
    "CREATE OR REPLACE FUNCTION caucus.note_digests(anew boolean) RETURNS void LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  r record;\n"
    "BEGIN\n"
    "  FOR r IN\n"
    "    SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, caucus.digest_shape(c.oid) AS shape\n"
    "    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
    "    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'caucus') AND n.nspname !~ '^pg_'\n"
    "      AND caucus.is_weak(c.oid)\n"
    "  LOOP\n"
    "    IF anew OR pg_catalog.pg_stat_get_xact_tuples_inserted(r.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(r.oid)\n"
    "         + pg_catalog.pg_stat_get_xact_tuples_deleted(r.oid) > 0\n"
    "       OR NOT EXISTS (SELECT FROM caucus.digests d WHERE d.\"table\" = r.name AND d.shape = r.shape) THEN\n"
    "      EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', r.oid::regclass);\n"
    "      INSERT INTO caucus.digests SELECT r.name, r.shape, d.rows, d.sum FROM caucus.digest(r.oid) d\n"
    "      ON CONFLICT (\"table\") DO UPDATE SET shape = EXCLUDED.shape, rows = EXCLUDED.rows, sum = EXCLUDED.sum;\n"
    "    END IF;\n"
    "  END LOOP;\n"
    "  DELETE FROM caucus.digests d WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
    "    WHERE c.relkind = 'r' AND pg_catalog.format('%I.%I', n.nspname, c.relname) = d.\"table\" AND caucus.is_weak(c.oid));\n"
    "END $$",

    // A new life: own changes that nobody else has are put aside (io_postgres_renew.c), and all that belongs to weak tables goes.
    "CREATE OR REPLACE FUNCTION caucus.begin_anew(own_replica bigint, incarnations bigint[], firsts bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  r record;\n"
    "  n bigint;\n"
    "BEGIN\n"
    "  INSERT INTO caucus.aside SELECT h.replica, h.incarnation, h.sequence - h.sets + c.n, caucus.time_of(c.change), c.change\n"
    "    FROM unnest(incarnations, firsts) AS own(incarnation, first), caucus.history h, unnest(h.changes) WITH ORDINALITY AS c(change, n)\n"
    "    WHERE h.replica = own_replica AND h.incarnation = own.incarnation AND h.sequence >= own.first AND h.sequence - h.sets + c.n >= own.first\n"
    "    ON CONFLICT DO NOTHING;\n"
    "  GET DIAGNOSTICS n = ROW_COUNT;\n"
    "  FOR r IN SELECT d.\"table\" AS name FROM caucus.digests d LOOP\n"
    "    EXECUTE 'DELETE FROM ' || r.name;\n"
    "  END LOOP;\n"
    "  UPDATE caucus.digests SET rows = 0, sum = 0;\n"
    "  DELETE FROM caucus.history;\n"
    "  DELETE FROM caucus.history_blocks;\n"
    "  DELETE FROM caucus.tombstones;\n"
    "  DELETE FROM caucus.frontier;\n"
    "  DELETE FROM caucus.dropped;\n"
    "  DELETE FROM caucus.garbage;\n"
    "  RETURN n;\n"
    "END $$",

    // Whoever may use single columns of a weak table may use its stamps, too, which are read and written with them.
    "CREATE OR REPLACE FUNCTION caucus.grant_stamps(relation oid) RETURNS void LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  g record;\n"
    "BEGIN\n"
    "  FOR g IN\n"
    "    WITH held AS (SELECT x.grantee, x.privilege_type AS privilege, a.attname = '_caucus' AS of_stamps FROM pg_catalog.pg_attribute a,\n"
    "        pg_catalog.aclexplode(a.attacl) x WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped\n"
    "        AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')),\n"
    "      wanted AS (SELECT grantee, privilege FROM held WHERE NOT of_stamps UNION SELECT grantee, 'SELECT' FROM held WHERE NOT of_stamps),\n"
    "      there AS (SELECT grantee, privilege FROM held WHERE of_stamps)\n"
    "    SELECT coalesce(w.privilege, t.privilege) AS privilege, t.privilege IS NULL AS missing,\n"
    "           CASE coalesce(w.grantee, t.grantee) WHEN 0 THEN 'PUBLIC' ELSE coalesce(w.grantee, t.grantee)::regrole::text END AS grantee\n"
    "    FROM wanted w FULL JOIN there t ON t.grantee = w.grantee AND t.privilege = w.privilege\n"
    "    WHERE w.privilege IS NULL OR t.privilege IS NULL ORDER BY 3, 1\n"
    "  LOOP\n"
    "    EXECUTE pg_catalog.format('%s %s (_caucus) ON %s %s %s', CASE WHEN g.missing THEN 'GRANT' ELSE 'REVOKE' END, g.privilege, relation::regclass,\n"
    "      CASE WHEN g.missing THEN 'TO' ELSE 'FROM' END, g.grantee);\n"
    "  END LOOP;\n"
    "END $$",

    // Guards and capture on every table of users; the stamps of weak tables. Called at the end of each migration. The
    // capture trigger's name makes it the first of a row's AFTER triggers: what others do comes after the row itself.
    "CREATE OR REPLACE FUNCTION caucus.protect() RETURNS void LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  r record;\n"
    "BEGIN\n"
    "  FOR r IN\n"
    "    SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relispartition,\n"
    "           EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'caucus_guard') AS guarded,\n"
    "           EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = '!caucus_capture') AS captured,\n"
    "           EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = '_caucus' AND NOT a.attisdropped) AS stamped\n"
    "    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
    "    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'\n"
    "      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'caucus') AND n.nspname !~ '^pg_'\n"
    "    ORDER BY c.relispartition, c.oid\n"
    "  LOOP\n"
    "    IF NOT r.guarded THEN\n"
    "      EXECUTE pg_catalog.format('CREATE TRIGGER caucus_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT '\n"
    "        'WHEN (caucus.is_direct()) EXECUTE FUNCTION caucus.guard()', r.name);\n"
    "      EXECUTE pg_catalog.format('CREATE TRIGGER caucus_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT '\n"
    "        'WHEN (caucus.is_captured()) EXECUTE FUNCTION caucus.refuse_truncate()', r.name);\n"
    "    END IF;\n"
    "    IF NOT r.captured AND NOT r.relispartition THEN\n"
    "      EXECUTE pg_catalog.format('CREATE TRIGGER \"!caucus_capture\" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '\n"
    "        'WHEN (caucus.is_captured()) EXECUTE FUNCTION caucus.capture_row()', r.name);\n"
    "    END IF;\n"
    "    IF NOT r.stamped AND caucus.is_weak(r.oid) THEN\n"
    "      EXECUTE pg_catalog.format('ALTER TABLE %s ADD COLUMN _caucus jsonb', r.name);\n"
    "    END IF;\n"
    "    IF caucus.is_weak(r.oid) THEN\n"
    "      PERFORM caucus.grant_stamps(r.oid);\n"
    "    END IF;\n"
    "  END LOOP;\n"
    "  PERFORM caucus.note_digests(false);\n"
    "END $$",

    "SELECT caucus.note_digests(true)",
};

#endif
