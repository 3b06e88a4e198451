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
