-- What more_cases.json needs besides schema.sql.
CREATE TABLE notes (id integer PRIMARY KEY, title text NOT NULL, n integer NOT NULL DEFAULT 0);
INSERT INTO notes VALUES (1, 'first', 10), (2, 'second', 20), (3, 'third', 30), (4, 'fourth', 40);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO h1_anon;
