#!/usr/bin/env python3
"""Writers go on while processes are killed with kill -9: nothing acknowledged is lost, nothing happens twice.

CAUCUS_E2E_KILLS: how many processes are killed (default 6). CAUCUS_E2E_SEED: which ones.
"""
import http.client
import os
import random
import threading
import time
import unittest
import uuid

from cluster import Cluster, CutCluster, together, wait_until

KILLS = int(os.environ.get('CAUCUS_E2E_KILLS', '6'))
SEED = int(os.environ.get('CAUCUS_E2E_SEED', str(random.randrange(10**6))))


class Writers:
    """Threads that insert rows; each insert is retried with its key at any replica until it is answered for good."""

    def __init__(self, cluster, n, path='/transfers', body=lambda tag: {'tag': tag, 'amount': 1}):
        self.cluster, self.path, self.body = cluster, path, body
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged = []  # (tag, when)
        self.unknown = []
        self.refused = []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(n)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def run(self, number):
        rng = random.Random(number)
        while not self.stop.is_set():
            tag = str(uuid.uuid4())
            outcome = self.write(tag, rng)
            with self.lock:
                (self.acknowledged if outcome == 201 else self.unknown if outcome is None else self.refused).append(
                    (tag, time.monotonic()) if outcome in (201, None) else (tag, outcome))

    def write(self, tag, rng):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            replica = rng.choice(list(self.cluster.ids))
            try:
                answer = self.cluster.request(replica, 'POST', self.path, self.body(tag), {'Idempotency-Key': tag}, timeout=30)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status in (503, 504):
                time.sleep(0.05)
                continue
            return answer.status if answer.status == 201 else repr(answer)
        return None


class Kills(unittest.TestCase):
    def check_rows(self, cluster, writers):
        self.assertEqual(writers.refused[:3], [])
        rows = {}
        for row in cluster.get(1, '/transfers?select=tag'):
            rows[row['tag']] = rows.get(row['tag'], 0) + 1
        lost = [tag for tag, _ in writers.acknowledged if tag not in rows]
        twice = [tag for tag, n in rows.items() if n > 1]
        self.assertEqual(lost[:3], [], f'{len(lost)} of {len(writers.acknowledged)} acknowledged rows are lost')
        self.assertEqual(twice[:3], [], f'{len(twice)} rows are there twice')
        self.assertEqual(cluster.get(2, '/totals?name=eq.transfers')[0]['n'], sum(rows.values()))
        cluster.verify(90)

    def test_64_writers_lose_nothing_while_leaders_and_databases_are_killed(self):
        rng = random.Random(SEED)
        print(f'seed {SEED}, {KILLS} kills')
        with Cluster() as cluster:
            with Writers(cluster, 64) as writers:
                time.sleep(2)
                for _ in range(KILLS):
                    victim = cluster.leader() if rng.random() < 0.6 else rng.choice(list(cluster.ids))
                    if rng.random() < 0.5:
                        print(f'kill -9: proxy of replica {victim}')
                        cluster.kill_proxy(victim)
                    else:
                        print(f'kill -9: PostgreSQL of replica {victim}')
                        wait_until(lambda v=victim: cluster.postgres_pid(v), 30, 'a server')
                        try:
                            cluster.kill_postgres(victim)
                        except (AssertionError, ProcessLookupError):
                            pass  # it was on its way down or up
                    time.sleep(rng.uniform(1, 4))
                cluster.wait_ready()
                time.sleep(1)
            print(f'{len(writers.acknowledged)} acknowledged, {len(writers.unknown)} unknown')
            self.assertGreater(len(writers.acknowledged), 100)
            self.check_rows(cluster, writers)

    def test_weak_writes_survive_kills_of_everything(self):
        with Cluster() as cluster:
            with Writers(cluster, 16, '/presence', lambda tag: {'id': tag, 'status': 'here'}) as writers:
                for victim in cluster.ids:
                    time.sleep(1)
                    cluster.kill_postgres(victim)
                    time.sleep(1)
                    cluster.kill_proxy(victim)
                cluster.wait_ready()
            self.assertEqual(writers.refused[:3], [])
            cluster.verify(90)
            found = {row['id'] for row in cluster.get(1, '/presence?select=id')}
            self.assertEqual([tag for tag, _ in writers.acknowledged if tag not in found][:3], [])


class Cuts(unittest.TestCase):
    def test_weak_tables_diverge_while_cut_and_converge_after(self):
        with CutCluster.make() as cluster:
            cluster.start_all()
            self.assertEqual(cluster.request(1, 'POST', '/presence', {'id': 'ann', 'status': 'here', 'place': 'desk'}).status, 201)
            for replica in cluster.ids:
                wait_until(lambda r=replica: cluster.get(r, '/presence?id=eq.ann'), 10, 'the weak row')
            lone = 3
            cluster.cut(lone)
            self.assertEqual(cluster.request(lone, 'PATCH', '/presence?id=eq.ann', {'status': 'away'}).status, 204)
            self.assertEqual(cluster.request(lone, 'POST', '/presence', {'id': 'lone', 'status': 'here'}).status, 201)
            self.assertEqual(cluster.request(1, 'PATCH', '/presence?id=eq.ann', {'place': 'lab'}).status, 204)
            self.assertEqual(cluster.request(2, 'POST', '/presence', {'id': 'many', 'status': 'here'}).status, 201)
            time.sleep(1.5)
            self.assertEqual(cluster.get(lone, '/presence?id=eq.many'), [])
            self.assertEqual(cluster.get(1, '/presence?id=eq.lone'), [])
            # Strong tables: the majority goes on, the lone replica refuses and says that nothing happened.
            wait_until(lambda: cluster.request(1, 'POST', '/notes', {'id': str(uuid.uuid4())}).status == 201, 20, 'a strong write at the majority')
            write, read = together(lambda: cluster.request(lone, 'POST', '/notes', {'id': 'refused'}), lambda: cluster.request(lone, 'GET', '/notes'))
            self.assertIn(write.status, (503, 504), write)
            self.assertEqual(read.status, 503, read)
            self.assertEqual(cluster.request(lone, 'GET', '/notes', headers={'Prefer': 'consistency=local'}).status, 200)
            cluster.heal()
            for replica in cluster.ids:
                wait_until(lambda r=replica: cluster.get(r, '/presence?id=eq.ann&select=status,place') == [{'status': 'away', 'place': 'lab'}], 20,
                           'both fields')
                wait_until(lambda r=replica: len(cluster.get(r, '/presence')) == 3, 20, 'all rows')
            cluster.wait_ready()
            cluster.verify()

    def test_a_leader_that_is_cut_off_acknowledges_nothing(self):
        with CutCluster.make() as cluster:
            cluster.start_all()
            leader = cluster.leader()
            other = next(replica for replica in cluster.ids if replica != leader)
            cluster.cut(leader)
            answer = cluster.request(leader, 'POST', '/notes', {'id': 'old leader'})
            self.assertIn(answer.status, (503, 504), answer)
            wait_until(lambda: cluster.request(other, 'POST', '/notes', {'id': 'new leader ' + str(uuid.uuid4())}).status == 201, 30, 'a new leader')
            cluster.heal()
            cluster.wait_ready()
            cluster.verify()
            if answer.status == 503:
                self.assertEqual(cluster.get(leader, '/notes?id=eq.old%20leader'), [])


if __name__ == '__main__':
    unittest.main(verbosity=2)
