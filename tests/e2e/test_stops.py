#!/usr/bin/env python3
"""Processes that stand still (SIGSTOP): replicas and databases that are there but do not answer."""
import http.client
import os
import signal
import subprocess
import time
import unittest
import uuid

from cluster import Cluster, parent_of, wait_until
from test_kills import Writers


def postgres_processes(cluster, replica):
    server = cluster.postgres_pid(replica)
    return [server] + [int(name) for name in os.listdir('/proc') if name.isdigit() and parent_of(name) == server]


class Stops(unittest.TestCase):
    def write_within(self, cluster, seconds):
        def write():
            try:
                replica = next(ids)
                return cluster.request(replica, 'POST', '/notes', {'id': str(uuid.uuid4())}, timeout=6).status == 201
            except (OSError, http.client.HTTPException):
                return False

        def endless():
            while True:
                yield from cluster.ids

        ids = endless()
        started = time.monotonic()
        wait_until(write, seconds, 'a strong write')
        return time.monotonic() - started

    def test_a_session_from_before_the_cluster_was_set_back_is_refused_at_once(self):
        cluster = Cluster(1)
        self.addCleanup(cluster.remove)
        copy = os.path.join(cluster.root, 'copy')
        with cluster:
            self.assertEqual(cluster.request(1, 'POST', '/notes', {'id': 'old'}).status, 201)
            self.assertEqual(cluster.stop(), 0)
            subprocess.run(['cp', '-a', cluster.data, copy], check=True)
            cluster.start(schema=False)
            for i in range(20):
                answer = cluster.request(1, 'POST', '/notes', {'id': f'new {i}'})
                self.assertEqual(answer.status, 201, answer)
            session = {'Caucus-Session': answer.headers['Caucus-Session'], 'Prefer': 'consistency=session'}
            self.assertEqual(len(cluster.request(1, 'GET', '/notes', headers=session).json()), 21)
            cluster.stop()
            subprocess.run(['rm', '-rf', cluster.data], check=True)
            os.rename(copy, cluster.data)
            cluster.start(schema=False)
            began = time.monotonic()
            answer = cluster.request(1, 'GET', '/notes', headers=session)
            self.assertEqual((answer.status, answer.json()['code']), (412, 'CC218'), answer)
            self.assertLess(time.monotonic() - began, 9)  # not after its whole time limit
            self.assertEqual(len(cluster.request(1, 'GET', '/notes').json()), 1)

    def test_a_leader_that_stands_still_is_replaced_and_comes_back(self):
        with Cluster() as cluster:
            leader = cluster.leader()
            pid = cluster.proxy_pid(leader)
            with Writers(cluster, 8) as writers:
                time.sleep(1)
                os.kill(pid, signal.SIGSTOP)
                try:
                    print(f'a write after {self.write_within(cluster, 10):.2f} s')
                    time.sleep(3)
                finally:
                    os.kill(pid, signal.SIGCONT)
                cluster.wait_ready()
                time.sleep(1)
            self.assertEqual(writers.refused[:3], [])
            found = {row['tag'] for row in cluster.get(leader, '/transfers?select=tag')}
            self.assertEqual([tag for tag, _ in writers.acknowledged if tag not in found][:3], [])
            cluster.verify()

    def test_a_leader_whose_database_stands_still_hands_over(self):
        with Cluster() as cluster:
            leader = cluster.leader()
            stopped = postgres_processes(cluster, leader)
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            try:
                print(f'a write after {self.write_within(cluster, 20):.2f} s')
                others = [replica for replica in cluster.ids if replica != leader]
                wait_until(lambda: cluster.leader() in others, 10, 'another leader')
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
            cluster.wait_ready()
            cluster.verify()

    def test_a_database_that_stands_still_on_a_follower_harms_nobody_else(self):
        with Cluster() as cluster:
            leader = cluster.leader()
            follower = next(replica for replica in cluster.ids if replica != leader)
            wait_until(lambda: cluster.request(follower, 'GET', '/notes').status == 200, 10, 'the tables at the follower')
            stopped = postgres_processes(cluster, follower)
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            try:
                for _ in range(20):
                    answer = cluster.request(leader, 'POST', '/notes', {'id': str(uuid.uuid4())})
                    self.assertEqual(answer.status, 201, answer)
                answer = cluster.request(follower, 'GET', '/notes')
                self.assertIn(answer.status, (503, 504), answer)
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
            cluster.wait_ready()
            wait_until(lambda: len(cluster.get(follower, '/notes')) == 20, 20, 'all rows at the follower')
            cluster.verify()


if __name__ == '__main__':
    unittest.main(verbosity=2)
