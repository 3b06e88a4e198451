#!/usr/bin/env python3
"""Weak tables over the years: what is not needed any more goes, and what differs is found and made equal again."""
import json
import os
import shutil
import subprocess
import threading
import time
import unittest

from cases import OneCutCluster
from cluster import command, wait_until


def sql(cluster, replica, text):
    """Runs SQL as the owner of a replica's PostgreSQL; the output's lines."""
    result = subprocess.run(['psql', '-h', os.path.join(cluster.data, str(replica), 'socket'), '-U', 'postgres', '-d', 'caucus', '-v', 'ON_ERROR_STOP=1',
                             '-qAtc', text], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split('\n')[:-1]


def tamper(cluster, replica, text):
    """The same behind the back of all triggers."""
    return sql(cluster, replica, "SET session_replication_role = replica; SET caucus.writer = 'on'; " + text)


def configure(cluster, section, keys):
    with open(cluster.config, encoding='utf-8') as file:
        config = json.load(file)
    config.setdefault(section, {}).update(keys)
    with open(cluster.config, 'w', encoding='utf-8') as file:
        json.dump(config, file)


class Repair(OneCutCluster):
    SECTIONS = {'timeouts': {'frontier_ms': 100}, 'weak': {'history_megabytes': 1}}

    def count(self, replica, table):
        return int(sql(self.cluster, replica, f'SELECT count(*) FROM caucus.{table}')[0])

    def garbage(self, replica):
        return self.cluster.status(replica)['garbage']

    def stop(self, replica):
        self.cluster.processes[replica].terminate()
        self.cluster.processes[replica].wait(60)

    def forget_quickly(self):
        """From now on histories go as soon as all have them."""
        for process in self.cluster.processes.values():
            process.terminate()
        for process in self.cluster.processes.values():
            process.wait(60)
        configure(self.cluster, 'weak', {'history_hours': 0})
        configure(self.cluster, 'limits', {'weak_memory_megabytes': 0})
        self.cluster.start_all()

    def wait_forgotten(self):
        for replica in self.cluster.ids:
            wait_until(lambda r=replica: self.count(r, 'tombstones') == 0 and self.count(r, 'history') == 0, 60, 'nothing left')

    def test_histories_that_grow_too_large_lose_what_is_oldest(self):
        self.write(1, 'POST', '/presence', {'id': 'large', 'status': 'first'})
        self.wait_equal()
        for n in range(24):
            self.write(1 + n % 3, 'PATCH', '/presence?id=eq.large', {'place': f'{n} ' + 100000 * 'x'})
        self.write(2, 'PATCH', '/presence?id=eq.large', {'status': 'last', 'place': None})

        def is_small(replica):
            return int(sql(self.cluster, replica, 'SELECT coalesce(sum(bytes), 0) FROM caucus.history')[0]) <= 1100000
        for replica in self.cluster.ids:
            wait_until(lambda r=replica: is_small(r), 60, 'less than a megabyte')
            history = self.cluster.get(replica, '/_caucus/history?table=presence&key=large')
            self.assertIsNotNone(history['dropped_until'])
        garbage = self.garbage(1)
        self.assertGreater(garbage['history_dropped'], 0)
        self.assertGreater(garbage['history_bytes_dropped'], 1000000)
        self.write(1, 'DELETE', '/presence?id=eq.large')

    def test_outcomes_under_a_key_go_when_they_are_old(self):
        for key in ('old', 'young'):
            answer = self.cluster.request(1, 'POST', '/presence', {'id': 'under a key ' + key}, {'Idempotency-Key': key})
            self.assertEqual(answer.status, 201, answer)
        sql(self.cluster, 1, "UPDATE caucus.requests SET at = at - interval '169 hours' WHERE key = 'old'")
        wait_until(lambda: sql(self.cluster, 1, 'SELECT key FROM caucus.requests') == ['young'], 60, 'the old one gone')
        self.assertEqual(self.garbage(1)['requests_dropped'], 1)
        self.write(1, 'DELETE', '/presence?id=like.under*')

    def test_what_every_member_has_goes_and_what_one_lacks_stays(self):
        self.forget_quickly()
        self.write(1, 'DELETE', '/presence?id=like.row*')
        rows = [{'id': f'garbage {i}', 'status': 'x'} for i in range(300)]
        self.write(1, 'POST', '/presence', rows)
        self.write(2, 'POST', '/presence', [{'id': 'kept', 'status': 'new'}])
        self.wait_equal()
        self.write(2, 'DELETE', '/presence?id=like.garbage*')
        self.wait_forgotten()
        dropped = self.garbage(1)
        self.assertGreaterEqual(dropped['tombstones_dropped'], 300)
        self.assertGreaterEqual(dropped['history_dropped'], 3)
        self.assertEqual(dropped['away'], [])
        history = self.cluster.get(1, '/_caucus/history?table=presence&key=kept')
        self.assertEqual(history['entries'], [])
        self.assertIsNotNone(history['dropped_until'])
        # One that is away holds back what it does not have; what it writes meanwhile does not bring anything back.
        self.cluster.cut(3)
        self.write(1, 'POST', '/presence', [{'id': 'seen by two', 'status': 'x'}])
        self.write(1, 'DELETE', '/presence?id=eq.seen%20by%20two')
        self.write(1, 'DELETE', '/presence?id=eq.kept')
        self.write(3, 'PATCH', '/presence?id=eq.kept', {'status': 'from afar'})
        before = self.garbage(1)['settled']
        wait_until(lambda: self.count(2, 'tombstones') == 2, 30, 'the deletions at replica 2')
        settled = [self.garbage(1)['settled']]
        wait_until(lambda: settled.append(self.garbage(1)['settled']) or len(settled) > 120, 60, 'some time')
        self.assertEqual(self.count(1, 'tombstones'), 2)
        self.assertLess(int(settled[-1], 16) >> 16, (int(before, 16) >> 16) + 10000)
        self.cluster.heal()
        self.wait_equal()
        for replica in self.cluster.ids:
            self.assertEqual(self.cluster.get(replica, '/presence?select=id&order=id'), [])
        self.wait_forgotten()
        self.cluster.verify()
        # A key can be used again.
        self.write(3, 'POST', '/presence', [{'id': 'kept', 'status': 'again'}])
        self.wait_equal()
        self.assertEqual(self.cluster.get(1, '/presence?select=id,status'), [{'id': 'kept', 'status': 'again'}])
        self.cluster.verify()

    def count_logged(self, replica, text):
        with open(os.path.join(self.cluster.data, str(replica), 'caucus.log'), encoding='utf-8') as file:
            return file.read().count(text)

    def repair(self, replica):
        answer = self.cluster.request(replica, 'POST', '/_caucus/repair')
        self.assertEqual(answer.status, 202, answer)
        self.assertTrue(answer.json()['running'])
        wait_until(lambda: not self.cluster.status(replica)['repair']['running'], 60, 'the comparison')
        return self.cluster.status(replica)['repair']

    def repaired(self):
        return sum(self.cluster.status(replica)['repair']['rows_repaired_ever'] for replica in self.cluster.ids)

    def tampered(self):
        """Three kinds of differences, made behind the back of everybody."""
        rows = [{'id': f'row {i}', 'status': 'right', 'place': 'home'} for i in range(2000)]
        self.write(1, 'POST', '/presence', rows)
        self.wait_equal()
        self.write(3, 'PATCH', '/presence?id=eq.row%2020', {'status': 'later'})
        self.wait_equal()
        tamper(self.cluster, 2, "UPDATE presence SET status = 'wrong' WHERE id IN ('row 10', 'row 20'); DELETE FROM presence WHERE id = 'row 30'")
        tamper(self.cluster, 1, "UPDATE presence SET place = 'abroad' WHERE id = 'row 40'")

    def test_rows_that_were_changed_behind_the_back_are_made_right(self):
        self.tampered()
        before = self.repaired()
        result = command('verify', '--config', self.cluster.config)
        self.assertEqual(result.returncode, 65, result.stdout)
        for key in (10, 20, 30, 40):
            self.assertIn(f'["row {key}"]', result.stdout)
        self.assertRegex(result.stdout, r'\["row 30"\]: 1=\w+ 2=missing 3=\w+; last written by replica 1')
        self.assertIn('last written by replica 3', result.stdout)
        self.assertNotIn('"row 11"', result.stdout)
        result = command('verify', '--repair', '--config', self.cluster.config)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(self.repaired() - before, 4)
        for replica in self.cluster.ids:
            found = self.cluster.get(replica, '/presence?select=id,status,place&id=in.(row%2010,row%2020,row%2030,row%2040)&order=id')
            self.assertEqual([tuple(row.values()) for row in found], [('row 10', 'right', 'home'), ('row 20', 'later', 'home'),
                                                                      ('row 30', 'right', 'home'), ('row 40', 'right', 'home')])
        self.cluster.verify()
        self.assertEqual(self.repair(1)['rows_compared'], 0)

    def test_a_deletion_that_is_forgotten_does_not_come_back(self):
        self.write(1, 'POST', '/presence', {'id': 'neighbour', 'status': 'right'})
        self.wait_equal()
        for replica in self.cluster.ids:
            wait_until(lambda r=replica: sql(self.cluster, r, 'SELECT max(bound) FROM caucus.garbage') != [''], 60, 'something to be settled')
        bucket = '(hashtextextended({} COLLATE "C", 0) >> 52 & 4095)'
        here, there = bucket.format("('gone ' || i)"), bucket.format("'neighbour'")
        gone = sql(self.cluster, 1, f"SELECT min('gone ' || i) FROM generate_series(1, 200000) AS i WHERE {here} = {there}")[0]
        # Of long ago, and just not dropped yet at replica 1: as its collector comes by at any time, again until it was there all the while.
        tombstone = f"('public.presence', '\\x{len(gone):02x}{gone.encode().hex()}', '0000000000010000.1.1', decode('01' || repeat('00', 17), 'hex'))"
        for _ in range(20):
            tamper(self.cluster, 2, "UPDATE presence SET status = 'wrong' WHERE id = 'neighbour'")
            tamper(self.cluster, 1, f'INSERT INTO caucus.tombstones ("table", key, death, remains) VALUES {tombstone} ON CONFLICT DO NOTHING')
            self.assertEqual(self.repair(2)['rows_repaired'], 1)
            if sql(self.cluster, 1, 'SELECT key FROM caucus.tombstones WHERE death < \'0001\''):
                break
        self.assertEqual(sql(self.cluster, 2, 'SELECT key FROM caucus.tombstones WHERE death < \'0001\''), [])
        self.write(1, 'DELETE', '/presence?id=eq.neighbour')

    def test_replicas_are_compared_at_one_point_while_clients_write(self):
        self.write(1, 'POST', '/presence', [{'id': f'load {i}', 'status': 'right'} for i in range(200)])
        self.wait_equal()
        over, failures, counts = threading.Event(), [], [0, 0, 0]

        def write(replica):
            while not over.is_set():
                n = counts[replica - 1] = counts[replica - 1] + 1
                for path, body in (('/presence', {'id': f'load {replica} {n}'}), ('/notes', {'id': f'load {replica} {n}'})):
                    answer = self.cluster.request(replica, 'POST', path, body)
                    if answer.status != 201:
                        failures.append(answer)
        writers = [threading.Thread(target=write, args=(replica,)) for replica in self.cluster.ids]
        for writer in writers:
            writer.start()
        try:
            for expected in (0, 65):
                before = list(counts)
                result = command('verify', '--config', self.cluster.config, '--wait', '120')
                self.assertEqual(result.returncode, expected, result.stdout + result.stderr)
                wait_until(lambda then=before: all(now > n for now, n in zip(counts, then)), 60, 'everybody went on writing')
                if expected == 0:
                    tamper(self.cluster, 2, "UPDATE presence SET status = 'wrong' WHERE id = 'load 7'")
            self.assertEqual([line.split(':')[0].strip() for line in result.stdout.splitlines() if line.startswith('    ')], ['["load 7"]'])
        finally:
            over.set()
            for writer in writers:
                writer.join()
        self.assertEqual(failures, [])
        self.write(1, 'PATCH', '/presence?id=eq.load%207', {'status': 'right'})  # the histories of before may be too large by now
        self.wait_equal()
        tamper(self.cluster, 2, "UPDATE presence SET status = 'wrong' WHERE id = 'load 7'")
        result = command('verify', '--repair', '--config', self.cluster.config)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(self.cluster.get(2, '/presence?select=status&id=eq.load%207'), [{'status': 'right'}])
        self.write(1, 'DELETE', '/presence?id=like.load*')

    def test_a_pause_of_writes_ends_by_itself_and_has_limits(self):
        for query in ('', '?ms=x', '?ms=-1', '?ms=2001'):
            answer = self.cluster.request(1, 'POST', '/_caucus/pause' + query)
            self.assertEqual((answer.status, answer.json()['code']), (400, 'CC255'), answer)
        begin = time.monotonic()
        self.write(1, 'POST', '/_caucus/pause?ms=400')
        self.write(1, 'POST', '/presence', {'id': 'paused'})
        self.assertGreaterEqual(time.monotonic() - begin, 0.4)
        self.write(1, 'POST', '/_caucus/pause?ms=2000')
        writer = threading.Thread(target=self.write, args=(1, 'DELETE', '/presence?id=eq.paused'))
        writer.start()
        self.write(1, 'POST', '/_caucus/pause?ms=0')
        writer.join()
        self.assertEqual(self.cluster.get(1, '/presence?select=id&id=eq.paused'), [])

    def test_rows_that_no_single_message_could_hold_come_in_several(self):
        # 36 MB, of which PostgreSQL stores little.
        tamper(self.cluster, 1, "INSERT INTO presence (id, status) SELECT 'large ' || i, repeat('x', 200000) FROM generate_series(1, 180) AS i")
        self.repair(3)
        self.assertEqual(sql(self.cluster, 3, "SELECT count(*), sum(length(status)) FROM presence WHERE id LIKE 'large %'"), ['180|36000000'])
        self.write(1, 'DELETE', '/presence?id=like.large*')
        self.wait_equal()
        self.cluster.verify()

    def test_a_field_that_a_forgotten_deletion_cleared_is_cleared_again(self):
        row = '/presence?id=eq.cleared'
        self.write(1, 'POST', '/presence', {'id': 'cleared', 'status': 'old', 'place': 'home'})
        self.wait_equal()
        self.cluster.cut(3)
        self.write(1, 'DELETE', row)
        self.write(3, 'POST', '/presence', {'id': 'cleared', 'status': 'new'}, Prefer='resolution=merge-duplicates')
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.cluster.get(2, row + '&select=status,place'), [{'status': 'new', 'place': None}])
        for replica in self.cluster.ids:
            wait_until(lambda r=replica: self.count(r, 'tombstones') == 0, 60, 'the deletion forgotten')
        tamper(self.cluster, 2, "UPDATE presence SET place = 'abroad' WHERE id = 'cleared'")
        self.assertEqual(command('verify', '--repair', '--config', self.cluster.config).returncode, 0)
        for replica in self.cluster.ids:
            self.assertEqual(self.cluster.get(replica, row + '&select=status,place'), [{'status': 'new', 'place': None}])
        self.write(1, 'DELETE', row)

    def test_a_comparison_goes_on_by_itself_with_a_member_that_was_away_and_after_a_kill_in_the_middle(self):
        n = 20000
        tamper(self.cluster, 2, f"INSERT INTO presence (id, status, place) SELECT 'halfway ' || i, 'x', repeat('y', 400) FROM generate_series(1, {n}) AS i")
        self.cluster.kill_proxy(2)
        wait_until(lambda: not any(other['reachable'] for other in self.cluster.status(3)['replicas'] if other['id'] == 2), 60, 'replica 2 away')
        result = command('verify', '--repair', '--config', self.cluster.config)
        self.assertEqual(result.returncode, 69, result.stdout + result.stderr)
        for replica in (1, 3):
            self.assertIn(f'replica {replica} has not been compared with replica 2, which it cannot reach', result.stderr)

        def left(replica):
            status = self.cluster.status(replica)
            return None if not status or status['repair']['running'] else status['repair']['members_left']
        wait_until(lambda: left(3) == [2], 60, 'the others compared')
        done = self.count_logged(3, 'event=repaired ')
        self.cluster.start(2)
        repaired = wait_until(lambda: self.cluster.status(3)['repair']['rows_repaired'], 60, 'a first row')
        self.cluster.kill_proxy(3)
        done_before_kill = self.count_logged(3, 'event=repaired ') > done  # we may have been slow to kill it
        self.cluster.start(3)
        self.assertGreater(repaired, 0)
        wait_until(lambda: left(3) == [], 60, 'all members compared')
        if not done_before_kill:
            self.assertGreater(self.cluster.status(3)['repair']['rows_repaired_ever'], 0)
        self.assertEqual(sql(self.cluster, 3, "SELECT count(*) FROM presence WHERE id LIKE 'halfway %'"), [str(n)])
        self.cluster.wait_ready()
        self.assertEqual(command('verify', '--repair', '--config', self.cluster.config).returncode, 0)
        self.write(1, 'DELETE', '/presence?id=like.halfway*')
        self.wait_equal()

    def test_digests_that_differ_are_noticed_and_repaired_without_being_asked(self):
        self.write(1, 'POST', '/presence', [{'id': f'noticed {i}', 'status': 'right'} for i in range(100)])
        self.wait_equal()
        before = self.cluster.status(2)['repair']['rows_repaired_ever']
        tamper(self.cluster, 2, "UPDATE presence SET status = 'wrong' WHERE id = 'noticed 7'; SELECT caucus.note_digests(true)")
        self.assertEqual(self.cluster.get(2, '/presence?select=status&id=eq.noticed%207'), [{'status': 'wrong'}])
        wait_until(lambda: self.cluster.get(2, '/presence?select=status&id=eq.noticed%207') == [{'status': 'right'}], 60, 'the right value')
        wait_until(lambda: not any(self.cluster.status(replica)['repair']['running'] for replica in self.cluster.ids), 60, 'comparisons done')
        self.assertEqual(self.cluster.status(2)['repair']['rows_repaired_ever'], before + 1)
        self.assertEqual(self.cluster.get(1, '/presence?select=status&id=eq.noticed%207'), [{'status': 'right'}])
        self.cluster.verify()
        self.write(1, 'DELETE', '/presence?id=like.noticed*')

    def test_a_digest_that_is_kept_wrong_is_made_right_though_all_rows_are_equal(self):
        def kept(replica):
            return int(sql(self.cluster, replica, "SELECT sum FROM caucus.digests WHERE \"table\" = 'public.presence'")[0])
        self.write(1, 'POST', '/presence', [{'id': 'counted', 'status': 'right'}])
        self.wait_equal()
        wait_until(lambda: len({kept(replica) for replica in self.cluster.ids}) == 1, 60, 'equal digests: rows of other tests were written past them')
        right = kept(2)
        sql(self.cluster, 2, "UPDATE caucus.digests SET sum = sum + 1 WHERE \"table\" = 'public.presence'")
        wait_until(lambda: kept(2) == right, 60, 'the right digest')
        self.assertNotIn(b'\ncaucus_digests_differ_total 0\n', self.cluster.request(2, 'GET', '/_caucus/metrics').body)
        self.write(1, 'DELETE', '/presence?id=eq.counted')

    def test_what_nobody_remembers_any_more_is_taken_over_row_by_row(self):
        self.forget_quickly()
        self.write(1, 'POST', '/presence', [{'id': f'long ago {i}', 'status': 'new'} for i in range(3000)])
        self.wait_equal()
        # A copy of replica 3's database; then much goes on, and everybody forgets how it came about.
        self.stop(3)
        database, copy = (os.path.join(self.cluster.data, '3', name) for name in ('postgres', 'copy'))
        subprocess.run(['cp', '-a', database, copy], check=True)
        self.cluster.start(3)
        self.cluster.wait_ready()
        self.write(1, 'PATCH', '/presence?id=like.long%20ago%20*0', {'status': 'later'})
        self.write(2, 'DELETE', '/presence?id=like.long%20ago%20*1')
        self.write(2, 'POST', '/presence', [{'id': f'since then {i}', 'status': 'new'} for i in range(300)])
        self.wait_equal()
        self.wait_forgotten()
        self.cluster.cut(3)
        self.write(3, 'POST', '/presence', [{'id': 'of three alone', 'status': 'kept'}])
        self.write(1, 'PATCH', '/presence?id=eq.long%20ago%205', {'status': 'without three'})
        self.stop(3)
        shutil.rmtree(database)
        os.rename(copy, database)
        self.cluster.heal()
        self.cluster.start(3)
        wait_until(lambda: (self.cluster.status(3) or {'repair': {'caught_up': 0}})['repair']['caught_up'] == 1, 60, 'the others\' rows')
        self.wait_equal()
        self.check_long_ago()
        # The same for one that has lost everything: its log leads on, the histories do not.
        self.stop(3)
        shutil.rmtree(database)
        shutil.rmtree(os.path.join(self.cluster.data, '3', 'log'))
        self.cluster.start(3)
        self.cluster.wait_ready()
        self.wait_equal()
        self.check_long_ago()
        self.assertEqual(self.cluster.status(3)['repair']['caught_up'], 1)
        self.write(3, 'DELETE', '/presence?id=like.*%20*')
        self.wait_equal()
        self.cluster.verify()

    def check_long_ago(self):
        expected = {f'long ago {i}': 'later' if i % 10 == 0 else 'new' for i in range(3000) if i % 10 != 1}
        expected |= {f'since then {i}': 'new' for i in range(300)} | {'of three alone': 'kept', 'long ago 5': 'without three'}
        for replica in self.cluster.ids:
            rows = self.cluster.get(replica, '/presence?select=id,status&id=like.*%20*')
            self.assertEqual({row['id']: row['status'] for row in rows}, expected)
        self.cluster.verify()


if __name__ == '__main__':
    unittest.main(verbosity=2)
