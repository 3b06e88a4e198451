#!/usr/bin/env python3
"""Weak tables over the years: what is not needed any more goes, and what differs is found and made equal again."""
import json
import os
import subprocess
import unittest

from cluster import CutCluster, command, wait_until


def sql(cluster, replica, text):
    """Runs SQL as the owner of a replica's PostgreSQL; the output's lines."""
    result = subprocess.run(['psql', '-h', os.path.join(cluster.data, str(replica), 'socket'), '-U', 'postgres', '-d', 'caucus', '-v', 'ON_ERROR_STOP=1',
                             '-qAtc', text], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split('\n')[:-1]


def tamper(cluster, replica, text):
    """The same behind the back of all triggers."""
    return sql(cluster, replica, "SET session_replication_role = replica; SET caucus.writer = 'on'; " + text)


class Repair(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = CutCluster.make()
        try:
            with open(cls.cluster.config, encoding='utf-8') as file:
                config = json.load(file)
            config['weak'] = {'history_hours': 0}
            with open(cls.cluster.config, 'w', encoding='utf-8') as file:
                json.dump(config, file)
            cls.cluster.start_all()
        except BaseException:
            cls.cluster.close(failed=True)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def tearDown(self):
        self.cluster.heal()

    def write(self, replica, method, path, body=None):
        answer = self.cluster.request(replica, method, path, body)
        self.assertIn(answer.status, (200, 201, 204), answer)

    def wait_equal(self):
        def frontiers():
            statuses = [self.cluster.status(replica) for replica in self.cluster.ids]
            return all(statuses) and len({str(sorted(status['frontier'].items())) for status in statuses}) == 1
        wait_until(frontiers, 60, 'equal frontiers')

    def count(self, replica, table):
        return int(sql(self.cluster, replica, f'SELECT count(*) FROM caucus.{table}')[0])

    def garbage(self, replica):
        return self.cluster.status(replica)['garbage']

    def test_what_every_member_has_goes_and_what_one_lacks_stays(self):
        rows = [{'id': f'garbage {i}', 'status': 'x'} for i in range(300)]
        self.write(1, 'POST', '/presence', rows)
        self.write(2, 'POST', '/presence', [{'id': 'kept', 'status': 'new'}])
        self.wait_equal()
        self.write(2, 'DELETE', '/presence?id=like.garbage*')
        for replica in self.cluster.ids:
            wait_until(lambda r=replica: self.count(r, 'tombstones') == 0 and self.count(r, 'history') == 0, 60, 'nothing left')
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
        wait_until(lambda: settled.append(self.garbage(1)['settled']) or len(settled) > 300, 60, 'some time')
        self.assertEqual(self.count(1, 'tombstones'), 2)
        self.assertLess(int(settled[-1], 16) >> 16, (int(before, 16) >> 16) + 10000)
        self.cluster.heal()
        self.wait_equal()
        for replica in self.cluster.ids:
            self.assertEqual(self.cluster.get(replica, '/presence?select=id&order=id'), [])
            wait_until(lambda r=replica: self.count(r, 'tombstones') == 0 and self.count(r, 'history') == 0, 60, 'nothing left')
        self.cluster.verify()
        # A key can be used again.
        self.write(3, 'POST', '/presence', [{'id': 'kept', 'status': 'again'}])
        self.wait_equal()
        self.assertEqual(self.cluster.get(1, '/presence?select=id,status'), [{'id': 'kept', 'status': 'again'}])
        self.cluster.verify()


if __name__ == '__main__':
    unittest.main(verbosity=2)
