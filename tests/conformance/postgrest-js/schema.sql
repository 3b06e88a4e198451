-- What the client's suite needs besides ../schema.sql: a weak table, row security, code that looks at requests.

CREATE TABLE public.presence (
  user_id text PRIMARY KEY,
  status  text,
  place   text,
  visits  integer NOT NULL DEFAULT 0,
  seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.presence IS '@caucus weak
Who is online.';
COMMENT ON COLUMN public.presence.status IS 'What they */ say.';

CREATE TABLE public.diary (
  id    integer PRIMARY KEY,
  owner text NOT NULL DEFAULT current_setting('request.jwt.claims', true)::json ->> 'sub',
  words text NOT NULL
);
ALTER TABLE public.diary ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_pages ON public.diary
  USING (owner = current_setting('request.jwt.claims', true)::json ->> 'sub')
  WITH CHECK (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');

CREATE TABLE public.visits (
  id     integer PRIMARY KEY,
  method text, path text, agent text, theme text
);
CREATE FUNCTION public.note_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.method := current_setting('request.method', true);
  NEW.path := current_setting('request.path', true);
  NEW.agent := current_setting('request.headers', true)::json ->> 'user-agent';
  NEW.theme := current_setting('request.cookies', true)::json ->> 'theme';
  RETURN NEW;
END $$;
CREATE TRIGGER note_request BEFORE INSERT ON public.visits FOR EACH ROW EXECUTE FUNCTION public.note_request();

CREATE FUNCTION public.turn_page(page integer, line text) RETURNS public.diary LANGUAGE sql VOLATILE AS
$$ INSERT INTO public.diary (id, words) VALUES (page, line) RETURNING * $$;

CREATE FUNCTION public.pages(at_least integer DEFAULT 0) RETURNS SETOF public.diary LANGUAGE sql STABLE AS
$$ SELECT * FROM public.diary WHERE id >= at_least ORDER BY id $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON public.presence, public.visits TO h1_anon, h1_member;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.diary TO h1_member;
REVOKE ALL ON FUNCTION public.turn_page(integer, text), public.pages(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.turn_page(integer, text), public.pages(integer) TO h1_member;

-- What code that is fed with somebody's SQL could be made to do.
CREATE TABLE public.treasure (id integer PRIMARY KEY, secret text);
INSERT INTO public.treasure VALUES (1, 'gold');
CREATE FUNCTION public.run(one text, other text DEFAULT 'SELECT $1') RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  answer text;
BEGIN
  EXECUTE one INTO answer;
  EXECUTE other INTO answer USING answer;
  RETURN answer;
END $$;

CREATE FUNCTION public.check_in(who text, here text) RETURNS SETOF public.presence LANGUAGE sql VOLATILE AS $$
  INSERT INTO public.presence (user_id, place, visits) VALUES (who, here, 1)
  ON CONFLICT (user_id) DO UPDATE SET place = EXCLUDED.place, visits = presence.visits + 1 RETURNING * $$;
COMMENT ON FUNCTION public.check_in(text, text) IS '@caucus weak
Somebody arrives.';
CREATE FUNCTION public.check_out(who text) RETURNS integer LANGUAGE sql VOLATILE AS
$$ WITH gone AS (DELETE FROM public.presence WHERE user_id = who RETURNING 1) SELECT count(*)::integer FROM gone $$;
COMMENT ON FUNCTION public.check_out(text) IS '@caucus weak';
CREATE FUNCTION public.where_is(who text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT place FROM public.presence WHERE user_id = who $$;
COMMENT ON FUNCTION public.where_is(text) IS '@caucus weak';
-- Writes of both classes, with and without saying so.
CREATE FUNCTION public.mixed(who text) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO public.presence (user_id) VALUES (who);
  INSERT INTO public.visits (id) VALUES (500) $$;
CREATE FUNCTION public.mixed_weak(who text) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO public.presence (user_id) VALUES (who);
  INSERT INTO public.visits (id) VALUES (500) $$;
COMMENT ON FUNCTION public.mixed_weak(text) IS '@caucus weak';
