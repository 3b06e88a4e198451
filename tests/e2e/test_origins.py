#!/usr/bin/env python3
"""A replica is put back to an older copy of its log and its database, and writes before it meets anybody: no number stands for two changes."""
import os
import shutil
import signal
import subprocess
import unittest

from cluster import CutCluster, command, wait_until

AGAIN = 75  # exit code of a process whose next start begins a new life
PARTS = ('log', 'postgres')


class Origins(unittest.TestCase):
    def setUp(self):
        self.cluster = CutCluster.make(3, timeouts={'frontier_ms': 100, 'request_ms': 60000})
        self.addCleanup(self.cluster.close)
        self.cluster.start_all()

    def write(self, replica, method, path, body=None):
        answer = self.cluster.request(replica, method, path, body)
        self.assertIn(answer.status, (200, 201, 204), answer)
        return answer.headers['Caucus-Session']

    def path(self, *names):
        return os.path.join(self.cluster.data, '3', *names)

    def stop_three(self):
        self.cluster.processes[3].send_signal(signal.SIGTERM)
        self.assertEqual(self.cluster.processes[3].wait(120), 0)

    def copy(self, source, target):
        os.makedirs(target, exist_ok=True)
        for part in PARTS:
            shutil.rmtree(os.path.join(target, part), ignore_errors=True)
            subprocess.run(['cp', '-a', os.path.join(source, part), target], check=True)

    def own_origins(self, replica):
        return {name for name in self.cluster.status(replica)['frontier'] if name.startswith('3.')}

    def wait_confirmed(self):
        return wait_until(lambda: (status := self.cluster.status(3)) and status['origin_confirmed'] and status, 60, 'the origin of replica 3 confirmed')

    def wait_three_ready(self):
        """One that finds that it is a copy of more than weak writes ends once, and comes back in a new life."""
        def is_ready():
            if self.cluster.processes[3].poll() == AGAIN:
                self.cluster.start(3)
            return self.cluster.is_ready(3)
        wait_until(is_ready, 60, 'replica 3 ready')

    def histories(self, replica, name):
        return self.cluster.get(replica, f'/_caucus/history?table=presence&key={name}&limit=1000')['entries']

    def test_a_copy_that_writes_before_it_meets_anybody_gives_no_number_again(self):
        cluster = self.cluster
        self.write(3, 'POST', '/presence', [{'id': 'ann', 'status': 'before'}, {'id': 'bob', 'status': 'before'}])
        first = cluster.status(3)['origin']
        cluster.verify()
        self.stop_three()
        self.copy(self.path(), self.path('copy'))
        cluster.start(3)
        self.wait_three_ready()
        # All are up: it goes on as it was.
        self.assertEqual(self.wait_confirmed()['origin'], first)
        token = self.write(3, 'POST', '/presence', {'id': 'cid', 'status': 'first life'})
        self.write(3, 'PATCH', '/presence?id=eq.ann', {'status': 'first life'})
        self.write(3, 'PATCH', '/presence?id=eq.bob', {'place': 'first life'})
        self.assertEqual(self.own_origins(3), {first})
        wait_until(lambda: all(cluster.get(replica, '/presence?id=eq.bob')[0]['place'] for replica in (1, 2)), 60, 'the others have it')
        self.stop_three()
        self.copy(self.path('copy'), self.path())
        cluster.cut(3)
        cluster.start(3)
        # Cut off, it takes writes as soon as it is up, and not as if it had never written those of its first life.
        wait_until(lambda: cluster.request(3, 'POST', '/presence', {'id': 'dan', 'status': 'second life'}).status == 201, 60, 'replica 3 takes weak writes')
        self.write(3, 'PATCH', '/presence?id=eq.ann', {'status': 'second life'})
        self.write(3, 'DELETE', '/presence?id=eq.bob')
        status = self.wait_confirmed()
        self.assertNotEqual(status['origin'], first)
        self.assertEqual(status['origins_begun'], 1)
        self.assertEqual(self.own_origins(3), {first, status['origin']})
        self.write(1, 'PATCH', '/presence?id=eq.ann', {'place': 'of one'})
        cluster.heal()
        self.wait_three_ready()
        cluster.verify()
        self.assertIn(f"writes weak changes under origin {status['origin']}", command('status', '--config', cluster.config).stdout)
        self.assertEqual(cluster.get(3, '/presence?id=eq.cid', **{'Caucus-Session': token})[0]['status'], 'first life')
        for replica in cluster.ids:
            rows = {row['id']: (row['status'], row['place']) for row in cluster.get(replica, '/presence?select=id,status,place')}
            self.assertEqual(rows, {'ann': ('second life', 'of one'), 'cid': ('first life', None), 'dan': ('second life', None)})
            self.assertEqual(cluster.status(replica)['identity_alarms'], 0)
            for name in ('ann', 'bob', 'cid', 'dan'):
                self.assertEqual(self.histories(replica, name), self.histories(1, name))
            with open(os.path.join(cluster.data, str(replica), 'caucus.log'), encoding='utf-8') as file:
                text = file.read()
            self.assertNotIn('event=two_contents', text)
            self.assertNotIn('event=digests_differ', text)
        values = {entry['new'] for entry in self.histories(1, 'ann') if entry['column'] == 'status'}
        self.assertEqual(values, {'before', 'first life', 'second life'})


if __name__ == '__main__':
    unittest.main(verbosity=2)
