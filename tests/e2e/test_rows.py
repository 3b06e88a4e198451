#!/usr/bin/env python3
"""Rows at every replica: strong and weak, good and bad input, stop and start, the command line."""
import os
import signal
import subprocess
import unittest

from cases import OneCluster
from cluster import CAUCUS, Cluster, command, is_alive, wait_until

REPRESENTATION = {'Prefer': 'return=representation'}


class Rows(OneCluster):
    def post(self, replica, path, body, headers=None, status=201):
        answer = self.cluster.request(replica, 'POST', path, body, {**REPRESENTATION, **(headers or {})})
        self.assertEqual(answer.status, status, answer)
        return answer.json()

    def test_a_strong_row_written_anywhere_is_read_everywhere_at_once(self):
        for writer in self.cluster.ids:
            row = self.post(writer, '/accounts', {'owner': f'owner {writer}', 'balance': 5})[0]
            for reader in self.cluster.ids:
                self.assertEqual(self.cluster.get(reader, f'/accounts?id=eq.{row["id"]}'), [row])

    def test_strong_rows_are_changed_and_deleted_anywhere(self):
        self.post(1, '/notes', [{'id': 'a', 'n': 1}, {'id': 'b', 'n': 2}, {'id': 'c', 'n': 3}])
        answer = self.cluster.request(2, 'PATCH', '/notes?id=in.(a,b)', {'tag': 'x'})
        self.assertEqual(answer.status, 204, answer)
        answer = self.cluster.request(3, 'DELETE', '/notes?id=eq.c')
        self.assertEqual(answer.status, 204, answer)
        for reader in self.cluster.ids:
            self.assertEqual(self.cluster.get(reader, '/notes?tag=eq.x&order=id&select=id,n'), [{'id': 'a', 'n': 1}, {'id': 'b', 'n': 2}])
            self.assertEqual(self.cluster.get(reader, '/notes?id=eq.c'), [])
        answer = self.cluster.request(2, 'POST', '/notes', {'id': 'a', 'n': 9}, {**REPRESENTATION, 'Prefer': 'return=representation,resolution=merge-duplicates'})
        self.assertIn(answer.status, (200, 201), answer)
        self.assertEqual(self.cluster.get(1, '/notes?id=eq.a'), [{'id': 'a', 'tag': 'x', 'n': 9}])

    def test_triggers_cascades_and_generated_values_are_the_same_everywhere(self):
        before = self.cluster.get(1, '/totals?name=eq.transfers')[0]['n']
        account = self.post(3, '/accounts', {'owner': 'cascade'})[0]
        self.post(2, '/transfers', [{'account': account['id'], 'tag': 'cascade', 'amount': n} for n in range(5)])
        for reader in self.cluster.ids:
            self.assertEqual(self.cluster.get(reader, '/totals?name=eq.transfers')[0]['n'], before + 5)
            self.assertEqual(len(self.cluster.get(reader, '/transfers?tag=eq.cascade')), 5)
        answer = self.cluster.request(1, 'DELETE', f'/accounts?id=eq.{account["id"]}')
        self.assertEqual(answer.status, 204, answer)
        for reader in self.cluster.ids:
            self.assertEqual(self.cluster.get(reader, '/transfers?tag=eq.cascade'), [])
        self.cluster.verify()

    def test_a_weak_row_written_anywhere_is_soon_everywhere(self):
        for writer in self.cluster.ids:
            self.post(writer, '/presence', {'id': f'w{writer}', 'status': 'here', 'place': 'desk'})
            for reader in self.cluster.ids:
                rows = wait_until(lambda r=reader, w=writer: self.cluster.get(r, f'/presence?id=eq.w{w}'), 5, 'the weak row')
                self.assertEqual(rows[0]['status'], 'here')
                self.assertNotIn('_caucus', rows[0])
        answer = self.cluster.request(1, 'PATCH', '/presence?id=eq.w2', {'status': 'away'})
        self.assertEqual(answer.status, 204, answer)
        for reader in self.cluster.ids:
            wait_until(lambda r=reader: self.cluster.get(r, '/presence?id=eq.w2&select=status,place') == [{'status': 'away', 'place': 'desk'}], 5, 'the change')
        self.assertEqual(self.cluster.request(3, 'DELETE', '/presence?id=eq.w3').status, 204)
        for reader in self.cluster.ids:
            wait_until(lambda r=reader: self.cluster.get(r, '/presence?id=eq.w3') == [], 5, 'the delete')
        self.cluster.verify()

    def test_a_key_makes_a_write_happen_once(self):
        headers = {'Idempotency-Key': 'only-once'}
        first = self.post(1, '/transfers', {'tag': 'once', 'amount': 1}, headers)
        for replica in self.cluster.ids:
            self.assertEqual(self.post(replica, '/transfers', {'tag': 'once', 'amount': 1}, headers), first)
        answer = self.cluster.request(2, 'POST', '/transfers', {'tag': 'once', 'amount': 2}, headers)
        self.assertEqual(answer.status, 422, answer)
        self.assertEqual(len(self.cluster.get(3, '/transfers?tag=eq.once')), 1)

    def test_bad_input_is_refused_and_changes_nothing(self):
        cases = [
            ('POST', '/notes', '{"id": "bad"', 400),
            ('POST', '/notes', {'id': 'bad', 'nonsense': 1}, 400),
            ('POST', '/accounts', {'owner': 'x', 'balance': -1}, 400),
            ('POST', '/accounts', {'balance': 1}, 400),
            ('POST', '/transfers', {'tag': 'x', 'amount': 1, 'account': '00000000-0000-0000-0000-000000000000'}, 409),
            ('GET', '/nowhere', None, 404),
            ('GET', '/notes?nonsense=eq.1', None, 400),
            ('GET', '/notes?n=eq.x', None, 400),
            ('GET', '/notes?n=foo.1', None, 400),
            ('PATCH', '/notes', {'tag': 'all'}, 400),
            ('DELETE', '/notes', None, 400),
            ('GET', '/_caucus/nonsense', None, 404),
            ('POST', '/_caucus/migrations?name=x', 'CREATE TABEL x', 400),
            ('POST', '/_caucus/migrations?name=x', 'VACUUM', 400),
            ('POST', '/_caucus/migrations?name=x', 'CREATE TABLE x (id int PRIMARY KEY); SELECT 1/0', 400),
        ]
        with open(os.path.join(self.cluster.data, '1', 'caucus.log'), encoding='utf-8') as log:
            if 'event=testing_hooks' not in log.read():
                cases += [('GET', '/_caucus/faults', None, 404), ('DELETE', '/_caucus/faults', None, 404),
                          ('POST', '/_caucus/faults', {'fault': 'isolate', 'replica': 1}, 404)]
        before = self.cluster.status(1)['schema_version']
        for method, path, body, status in cases:
            for replica in self.cluster.ids:
                with self.subTest(method=method, path=path, replica=replica):
                    answer = self.cluster.request(replica, method, path, body, {'Content-Type': 'application/json'} if isinstance(body, str) else None)
                    self.assertEqual(answer.status, status, answer)
                    self.assertEqual(set(answer.json()), {'code', 'message', 'details', 'hint'})
        self.assertEqual(self.cluster.status(1)['schema_version'], before)
        self.cluster.verify()

    def test_one_bad_write_in_a_crowd_harms_no_neighbour(self):
        import threading
        statuses = {}

        def write(i):
            body = {'id': f'crowd {i}', 'tag': 'crowd', 'n': 'no number' if i % 10 == 0 else i}
            statuses[i] = self.cluster.request(1 + i % 3, 'POST', '/notes', body).status

        threads = [threading.Thread(target=write, args=(i,)) for i in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({i: status for i, status in statuses.items() if status != (400 if i % 10 == 0 else 201)}, {})
        self.assertEqual(len(self.cluster.get(2, '/notes?tag=eq.crowd')), 90)

    def test_weak_tables_that_could_break_are_refused_with_the_reason(self):
        comment = "COMMENT ON TABLE w IS '@caucus weak';"
        cases = {
            'CREATE TABLE w (id text PRIMARY KEY, mail text UNIQUE);': 'unique',
            'CREATE TABLE w (id text PRIMARY KEY, note text REFERENCES notes (id));': 'foreign key',
            'CREATE TABLE w (id text PRIMARY KEY, a int, b int, CHECK (a < b));': 'check',
            'CREATE TABLE w (id serial PRIMARY KEY);': 'sequence',
            'CREATE TABLE w (id text);': 'primary key',
        }
        for sql, word in cases.items():
            with self.subTest(sql=sql):
                answer = self.cluster.request(2, 'POST', '/_caucus/migrations?name=weak', sql + comment, {'Content-Type': 'application/sql'})
                self.assertEqual(answer.status, 400, answer)
                self.assertIn(word, answer.body.decode().lower())

    def test_commands_tell_and_change_the_cluster(self):
        url = f'http://127.0.0.1:{self.cluster.port(2)}'
        result = command('status', '--url', url)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.count('follower'), 2, result.stdout)
        self.assertEqual(result.stdout.count('leader '), 2, result.stdout)  # the heading, and one replica
        path = self.cluster.root + '/0002_more.sql'
        with open(path, 'w', encoding='utf-8') as file:
            file.write("CREATE TABLE more (id int PRIMARY KEY, at timestamptz DEFAULT now()); INSERT INTO more SELECT generate_series(1, 1000);")
        result = command('migrate', '--url', url, path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('0002_more: applied (index', result.stdout)
        result = command('migrate', '--url', url, path)
        self.assertIn('0002_more: was applied before', result.stdout)
        for reader in self.cluster.ids:
            self.assertEqual(len(self.cluster.get(reader, '/more?select=id')), 1000)
        with open(path, 'a', encoding='utf-8') as file:
            file.write('SELECT 1;')
        result = command('migrate', '--url', url, path)
        self.assertEqual(result.returncode, 69)
        result = command('verify', '--url', url)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn('public.more', result.stdout)

    def test_verify_finds_a_row_that_differs(self):
        socket = f'{self.cluster.data}/3/socket'
        found = subprocess.run(['psql', '-h', socket, '-U', 'postgres', '-d', 'caucus', '-v', 'ON_ERROR_STOP=1', '-c',
                                "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL caucus.writer = 'on'; "
                                "UPDATE totals SET n = n + 1; COMMIT"], capture_output=True, text=True, check=False)
        self.assertEqual(found.returncode, 0, found.stderr)
        try:
            result = command('verify', '--config', self.cluster.config, '--wait', '5')
            self.assertEqual(result.returncode, 65, result.stdout + result.stderr)
            self.assertIn('public.totals', result.stdout)
            self.assertIn('DIFFERENT', result.stdout)
        finally:
            subprocess.run(['psql', '-h', socket, '-U', 'postgres', '-d', 'caucus', '-c',
                            "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL caucus.writer = 'on'; "
                            "UPDATE totals SET n = n - 1; COMMIT"], capture_output=True, check=False)

    def test_direct_writes_are_refused(self):
        result = subprocess.run(['psql', '-h', f'{self.cluster.data}/1/socket', '-U', 'postgres', '-d', 'caucus', '-c', "DELETE FROM notes"],
                                capture_output=True, text=True, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('Caucus', result.stderr)


class Lives(unittest.TestCase):
    """Starting and stopping."""

    def test_a_stopped_cluster_goes_on_with_its_data(self):
        with Cluster() as cluster:
            cluster.request(1, 'POST', '/notes', {'id': 'kept', 'n': 1})
            cluster.request(2, 'POST', '/presence', {'id': 'kept', 'status': 'here'})
            pids = [cluster.proxy_pid(r) for r in cluster.ids] + [cluster.postgres_pid(r) for r in cluster.ids]
            self.assertTrue(all(is_alive(pid) for pid in pids))
            self.assertEqual(cluster.stop(signal.SIGINT), 0)
            self.assertEqual(cluster.leftovers(), [])
            self.assertFalse(any(is_alive(pid) for pid in pids))
            for replica in cluster.ids:
                result = command('log', 'verify', f'{cluster.data}/{replica}')
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            cluster.start()
            self.assertIn('was applied before', ''.join(cluster.output))
            for reader in cluster.ids:
                self.assertEqual(cluster.get(reader, '/notes?id=eq.kept')[0]['n'], 1)
                wait_until(lambda r=reader: cluster.get(r, '/presence?id=eq.kept'), 10, 'the weak row')
            cluster.verify()

    def test_nothing_remains_when_up_is_killed(self):
        with Cluster() as cluster:
            cluster.request(1, 'POST', '/notes', {'id': 'kept', 'n': 1})
            self.assertEqual(cluster.stop(signal.SIGKILL), -signal.SIGKILL)
            wait_until(lambda: not cluster.leftovers(), 10, 'all processes gone')
            cluster.start()
            self.assertEqual(len(cluster.get(2, '/notes?id=eq.kept')), 1)
            cluster.verify()

    def test_wrong_beginnings_are_refused(self):
        with Cluster(1) as cluster:
            words = [CAUCUS, 'up', '--dir', cluster.data]
            second = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(second.returncode, 69, second.stderr)
            self.assertIn('another `caucus up` runs', second.stderr)
            other = subprocess.run([CAUCUS, 'up', '--dir', cluster.root + '/other', '--port', str(cluster.base)], capture_output=True, text=True,
                                   timeout=30, check=False)
            self.assertEqual(other.returncode, 69, other.stderr)
            self.assertIn('in use', other.stderr)
            cluster.stop()
            more = subprocess.run([*words, '--replicas', '5'], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(more.returncode, 69, more.stderr)
            self.assertIn('has 1 replicas, not 5', more.stderr)

    def test_a_schema_that_is_wrong_stops_everything_and_says_why(self):
        with Cluster(1) as cluster:
            cluster.stop()
            path = cluster.root + '/broken.sql'
            with open(path, 'w', encoding='utf-8') as file:
                file.write('CREATE TABLE ok (id int PRIMARY KEY);\nCREATE TABEL x;\n')
            result = subprocess.run([CAUCUS, 'up', '--dir', cluster.data, '--schema', path], capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(result.returncode, 69, result.stderr)
            self.assertIn('line 2', result.stderr)
            self.assertEqual(cluster.leftovers(), [])

    def test_one_replica_is_a_cluster_too(self):
        with Cluster(1) as cluster:
            self.assertEqual(cluster.request(1, 'POST', '/notes', {'id': 'x'}).status, 201)
            self.assertEqual(cluster.request(1, 'POST', '/presence', {'id': 'x'}).status, 201)
            cluster.kill_postgres(1)
            wait_until(lambda: cluster.is_ready(1), 30, 'ready again')
            self.assertEqual(len(cluster.get(1, '/notes?id=eq.x')), 1)
            # Without a session token a weak read may come before the log is applied again.
            wait_until(lambda: cluster.get(1, '/presence?id=eq.x'), 10, 'the weak row')


if __name__ == '__main__':
    unittest.main(verbosity=2)
