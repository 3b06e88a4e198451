#!/usr/bin/env python3
"""Code of users within writes: whatever a function, trigger, default, policy or check runs, it reaches no more than the roles of requests, and
neither the next request nor the other replicas notice. Each attempt at a replica chosen by chance, on strong and on weak tables.
"""
import json
import os
import random
import subprocess
import unittest

from conformance_cluster import ConformanceCluster, seed, token
from cluster import wait_until  # noqa: E402  (conformance_cluster knows where)

SUPERUSER = ['RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', 'SET ROLE postgres', 'CREATE ROLE evil SUPERUSER',
             'GRANT postgres TO plain', "COPY (SELECT 1) TO PROGRAM 'true'", "SELECT pg_read_file('/etc/passwd')", 'SELECT current_user',
             "SELECT current_setting('is_superuser')"]
SUPERUSER_ANSWERS = ['ok', 'ok', '42501', '42501', '42501', '42501', '42501', '42501', 'caucus_executor', 'off']
FORGED = ["SELECT caucus.mode('x', 'caucus_own', false)", "SELECT caucus.mode(NULL, 'caucus_own', false)",
          "SELECT set_config('backtrace_functions', 'caucus_told', false)", "SET session_replication_role = replica",
          "SELECT caucus.mend('ALTER ROLE plain SUPERUSER', '{}')", "SELECT caucus.sequence_at('owned_n_seq')"]
OURS = ['RESET ROLE', 'UPDATE caucus.applied SET applied = 0', 'DELETE FROM caucus.applied', "INSERT INTO caucus.frontier VALUES (9, 9, 9, '')",
        'UPDATE caucus.frontier SET sequence = 0', 'DELETE FROM caucus.requests', "INSERT INTO caucus.requests VALUES ('', 'k', '', '')",
        'TRUNCATE caucus.requests', "INSERT INTO caucus.history VALUES (9, 9, 9, 1, 0, '', '', '{}')", "INSERT INTO caucus.cluster VALUES ('a', 'b')",
        "INSERT INTO caucus.capture (relation, operation) VALUES (1, 'I')", 'UPDATE caucus.meta SET replica = 9', 'DELETE FROM caucus.migrations',
        'DROP TABLE caucus.requests', 'SELECT caucus.protect()', 'SELECT count(*) FROM caucus.cluster', 'SELECT count(*) FROM caucus.requests',
        'SELECT count(*) FROM caucus.history']
SCHEMA = ['ALTER TABLE owned DISABLE TRIGGER ALL', 'DROP TABLE owned', 'ALTER TABLE owned ADD COLUMN c int', 'CREATE TABLE plains.t (i int)',
          'CREATE FUNCTION plains.f() RETURNS int LANGUAGE sql AS $$SELECT 1$$', 'GRANT ALL ON owned TO other', 'ALTER SEQUENCE owned_n_seq INCREMENT 2',
          "COMMENT ON TABLE owned IS '@caucus weak'", 'CREATE OPERATOR plains.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = namene)']
NUMBER_OF_LOCK = 0x43415543
SETTINGS = ["SET search_path = plains, pg_catalog", "SET statement_timeout = 1000000", "SET DateStyle = 'SQL, DMY'", "SET TimeZone = 'Asia/Tokyo'",
            'SET default_transaction_read_only = on', 'SET idle_in_transaction_session_timeout = 5', 'SET extra_float_digits = -15',
            "SET IntervalStyle = 'sql_standard'", 'SET plan_cache_mode = force_custom_plan', 'SET enable_seqscan = off', 'SET caucus.capture = off',
            "SET caucus.writer = off", "SET request.jwt.claims = '{\"role\":\"other\"}'", 'SET row_security = off', 'SET lock_timeout = 1',
            'SET synchronous_commit = on', 'SET application_name = x', 'SET SESSION ROLE other']
HELD = "DECLARE {} CURSOR WITH HOLD FOR SELECT public.attempt(ARRAY[$s$SET ROLE plain$s$, $s$INSERT INTO public.rows_{} (id) VALUES ('held')$s$])"
SESSION = [('CREATE TEMP TABLE rows_strong (id text, note text)', 'ok'), ('CREATE TEMP TABLE rows_weak (id text, note text)', 'ok'), ('LISTEN x', 'ok'),
           ("NOTIFY x, 'y'", 'ok'), (f'SELECT pg_try_advisory_lock({NUMBER_OF_LOCK}, 0)::text', 'false'), ('SELECT pg_advisory_lock(1)::text', ''),
           ('DEALLOCATE c1', '26000'), ('SELECT count(*) FROM pg_prepared_statements', '42501'), ('COMMIT', '0A000'), ('ROLLBACK', '0A000'),
           ('SAVEPOINT s', '0A000'), ('ROLLBACK TO SAVEPOINT caucus_chunk', '0A000'), ('SELECT pg_terminate_backend(pg_backend_pid())', '42501'),
           ('SELECT pg_cancel_backend(pg_backend_pid())', '42501'), ('RESET ROLE', 'ok'), ('SELECT pg_terminate_backend(pg_backend_pid())', '42501'),
           ('SELECT pg_cancel_backend(pg_backend_pid())', '42501'), ('LOCK TABLE caucus.applied IN ACCESS EXCLUSIVE MODE', 'ok'),
           (HELD.format('held', 'strong'), 'ok'), ('CLOSE ALL', 'ok'), (HELD.format('again', 'strong'), 'ok'), (HELD.format('weak', 'weak'), 'ok'),
           ('SET CONSTRAINTS ALL DEFERRED', 'ok'), ('RESET ALL', 'ok'), ('DISCARD PLANS', 'ok')]

class IntrudersCluster(ConformanceCluster):
    schema_file = 'intruders_schema.sql'
    schemas = ['public']
    auth = {key: value for key, value in ConformanceCluster.auth.items() if key == 'jwt_secret'}

    def sql(self, replica, text, user='postgres'):
        """As an operator would, past Caucus."""
        with open(os.path.join(self.data, str(replica), 'postgres', 'postmaster.pid'), encoding='utf-8') as file:
            directory = file.read().splitlines()[4]
        return subprocess.run(['psql', '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', directory, '-U', user, '-d', 'caucus', '-c', text], capture_output=True,
                              text=True, timeout=60, check=False)


class Intruders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.random = random.Random(seed())
        cls.cluster = IntrudersCluster()
        cls.cluster.__enter__()
        cls.tokens = {role: token(role) for role in ('plain', 'other')}
        cls.n = 0

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def post(self, path, body, role='plain', **headers):
        replica = self.random.choice(list(self.cluster.ids))
        return self.cluster.request(replica, 'POST', path, body, {'Authorization': 'Bearer ' + self.tokens[role], **headers})

    def attempt(self, steps, weak=False):
        answer = self.post('/rpc/attempt_weak' if weak else '/rpc/attempt', {'steps': steps})
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def assert_nobody_noticed(self):
        """The next requests, in the sessions where the attempt was."""
        for weak in (False, True):
            for _ in range(3 if weak else 1):
                answer = self.post('/rpc/look_weak' if weak else '/rpc/look', {} if weak else {'which': 'strong'})
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer.json(), {'role': 'plain', 'session': 'caucus_executor', 'path': '"public"', 'claims': 'plain', 'timeout': '0',
                                                 'date': '2026-02-03', 'zone': 'UTC', 'temporary': False, 'locks': 0, 'channels': 0, 'cursors': 0})
            Intruders.n += 1
            answer = self.post('/rows_weak' if weak else '/rows_strong', {'id': f'row {self.n}', 'note': 'good'}, Prefer='return=representation')
            self.assertEqual(answer.status, 201, answer)
            self.assertEqual(answer.json(), [{'id': f'row {self.n}', 'note': 'good', 'at': '2026-01-02T03:04:05+00:00', 'x': 0.1}])

    def for_both(self, steps, check):
        for weak in (False, True):
            with self.subTest(weak=weak):
                check(self.attempt(steps, weak))
                self.assert_nobody_noticed()

    def test_nobody_becomes_more_than_the_roles_of_requests(self):
        self.for_both(SUPERUSER, lambda answers: self.assertEqual(answers, SUPERUSER_ANSWERS))
        self.for_both(['SET ROLE other', 'SELECT current_user'], lambda answers: self.assertEqual(answers, ['ok', 'other']))
        self.for_both(['RESET ROLE', 'SET ROLE caucus_authenticator'], lambda answers: self.assertEqual(answers, ['ok', '42501']))

    def test_what_proves_that_a_statement_is_ours_cannot_be_forged(self):
        self.for_both(FORGED, lambda answers: self.assertEqual(answers, ['42501'] * len(FORGED)))
        self.for_both(['RESET ROLE'] + FORGED, lambda answers: self.assertEqual(answers[:6], ['ok'] + ['42501'] * 5))

    def test_our_tables_are_neither_written_nor_read(self):
        self.assertEqual(self.post('/rows_strong', {'id': 'keyed'}, **{'Idempotency-Key': 'k1'}).status, 201)
        self.assertEqual(self.post('/rows_weak', {'id': 'keyed'}, **{'Idempotency-Key': 'k2'}).status, 201)
        self.for_both(OURS, lambda answers: self.assertEqual(answers, ['ok'] + ['42501'] * 14 + ['0', '0', '0']))
        steps = ['RESET ROLE', "UPDATE caucus.requests SET outcome = '' RETURNING key", "UPDATE caucus.digests SET rows = 0 RETURNING 'x'",
                 "DELETE FROM caucus.capture RETURNING 'x'", "UPDATE caucus.tombstones SET death = '' RETURNING 'x'"]
        self.for_both(steps, lambda answers: self.assertEqual(answers, ['ok', None, None, None, None]))
        self.assertEqual(self.post('/rows_strong', {'id': 'keyed'}, **{'Idempotency-Key': 'k1'}).status, 201)

    def test_a_write_leaves_the_schema_alone(self):
        self.for_both(SCHEMA, lambda answers: self.assertEqual(answers, ['0A000'] * len(SCHEMA)))

    def test_settings_end_with_the_request(self):
        self.for_both(SETTINGS, lambda answers: self.assertEqual(answers, ['ok'] * len(SETTINGS)))
        self.assertEqual(self.post('/rpc/attempt_all', {'steps': SETTINGS}).status, 200)
        self.assert_nobody_noticed()

    def test_rows_are_captured_whatever_is_set(self):
        steps = SETTINGS[:-1] + ["INSERT INTO public.owned VALUES ('mine')", "INSERT INTO public.rows_strong (id, at, x) VALUES ('mine', '3/2/2026 1:00', 1/3.0::float8)"]
        self.assertEqual(self.post('/rpc/attempt_all', {'steps': steps}).status, 200)
        self.assert_nobody_noticed()

    def test_nothing_stays_in_the_session(self):
        self.for_both([step for step, _ in SESSION], lambda answers: self.assertEqual(answers, [answer for _, answer in SESSION]))
        for weak in ('', '_weak'):
            self.assertEqual(self.post('/rpc/attempt_all' + weak, {'steps': ['CREATE TEMP TABLE rows_strong (id text)']}).status, 200)
            self.assertEqual(self.post('/rpc/attempt_all' + weak, {'steps': ['CREATE TEMP TABLE rows_strong (id text)']}).status, 200)
        self.assert_nobody_noticed()

    def test_who_makes_the_session_unusable_fails_alone(self):
        for steps, code in ((['DEALLOCATE ALL'], 'CC311'), (['SET TRANSACTION READ ONLY'], 'CC311'), (['DEALLOCATE ALL', 'SELECT 1/0'], '22012'),
                            (['SELECT pg_advisory_lock(7)', 'SELECT 1/0'], '22012'), (['SET statement_timeout = 1', 'SELECT 1/0'], '22012')):
            for weak in ('', '_weak'):
                with self.subTest(steps=steps, weak=weak):
                    answer = self.post('/rpc/attempt_all' + weak, {'steps': steps})
                    self.assertEqual((answer.status, answer.json()['code']), (400, code), answer)
                    self.assert_nobody_noticed()

    def test_code_elsewhere_than_in_functions(self):
        steps = ['RESET ROLE', 'SET ROLE postgres', 'SET search_path = plains', 'UPDATE caucus.applied SET applied = 0', 'LISTEN x', 'SET ROLE other']
        answers = ['ok', '42501', 'ok', '42501', 'ok', 'ok']
        answer = self.post('/triggered', {'id': '1', 'steps': steps}, Prefer='return=representation')
        self.assertEqual((answer.status, answer.json()[0]['answer']), (201, answers), answer)
        self.assert_nobody_noticed()
        answer = self.post('/defaulted', {'id': '1'}, Prefer='return=representation', **{'X-Steps': json.dumps(steps)})
        self.assertEqual((answer.status, answer.json()[0]['answer']), (201, answers), answer)
        self.assert_nobody_noticed()
        answer = self.post('/policed', {'id': '1', 'steps': steps})
        self.assertEqual(answer.status, 201, answer)
        self.assert_nobody_noticed()
        answer = self.post('/deferred', {'id': '1', 'steps': ['SELECT current_user', *steps[:-1], 'SET ROLE plain']})
        self.assertEqual(answer.status, 201, answer)
        rows = self.cluster.get(1, '/rows_strong?id=eq.later%201', Authorization='Bearer ' + self.tokens['plain'])
        self.assertEqual(rows[0]['note'], 'plain ok 42501 ok 42501 ok ok plain')
        self.assert_nobody_noticed()

    def test_what_the_role_changes_of_itself_ends_with_its_session(self):
        operator = {'Authorization': 'Bearer ' + token('caucus_operator')}
        leader = self.cluster.request(1, 'GET', '/_caucus/status', headers=operator).json()['leader']
        for setting in ('statement_timeout = 1', "search_path = 'nowhere'", 'default_transaction_read_only = on'):
            self.assertEqual(self.attempt(['RESET ROLE', 'ALTER ROLE CURRENT_USER SET ' + setting]), ['ok', 'ok'])
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'caucus_executor'"
        wait_until(lambda: self.cluster.sql(leader, sessions).stdout.split() == ['2'], 60, 'both sessions')
        ended = self.cluster.sql(leader, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'caucus_executor'")
        self.assertEqual((ended.returncode, ended.stdout.split()), (0, ['t', 't']), ended.stderr)
        self.cluster.wait_ready()
        self.assert_nobody_noticed()

    def test_direct_writes_are_refused_whatever_they_set(self):
        made = self.cluster.sql(1, 'CREATE ROLE direct LOGIN; GRANT plain TO direct')
        self.assertEqual(made.returncode, 0, made.stderr)
        for setting in ("caucus.writer = 'on'", "caucus.capture = 'off'"):
            answer = self.cluster.sql(1, f"SET {setting}; SET ROLE plain; INSERT INTO rows_strong (id) VALUES ('direct')", user='direct')
            self.assertIn('is replicated by Caucus', answer.stderr)
        self.cluster.sql(1, 'DROP ROLE direct')

    def test_zz_all_replicas_are_equal(self):
        self.assert_nobody_noticed()
        for table in ('rows_strong', 'rows_weak'):
            rows = self.cluster.get(1, f'/{table}?id=in.(held,direct)', Authorization='Bearer ' + self.tokens['plain'])
            self.assertEqual(rows, [], table)
        self.assertEqual(len(self.cluster.get(2, '/owned?id=eq.mine', Authorization='Bearer ' + self.tokens['plain'])), 1)
        self.cluster.verify()


if __name__ == '__main__':
    unittest.main()
