#!/usr/bin/env python3
"""Clients at all replicas record what they read and write, while replicas are killed, stopped and cut off: some order explains it.

503 says that nothing happened, so the checker takes it at its word; 504 and a lost connection leave the outcome open.
CAUCUS_E2E_FAULTS: how many faults (default 8). CAUCUS_E2E_SEED: which ones.
"""
import contextlib
import http.client
import json
import math
import os
import random
import signal
import threading
import time
import unittest

from cluster import CutCluster, wait_until
from linearizability import CAS, READ, WRITE, Operation, Undecided, stuck_at

FAULTS = int(os.environ.get('CAUCUS_E2E_FAULTS', '8'))
SEED = int(os.environ.get('CAUCUS_E2E_SEED', str(random.randrange(10**6))))
KEYS, CLIENTS = 6, 12


class Checker(unittest.TestCase):
    def check(self, possible, *history):
        self.assertEqual(stuck_at(history, 0) is None, possible)

    def test_what_follows_in_time_must_agree(self):
        self.check(True, Operation(WRITE, 0, 1, 5), Operation(READ, 2, 3, 5))
        self.check(False, Operation(WRITE, 0, 1, 5), Operation(READ, 2, 3, 0))
        self.check(False, Operation(READ, 0, 1, 7))

    def test_what_overlaps_may_be_in_any_order(self):
        self.check(True, Operation(WRITE, 0, 3, 5), Operation(READ, 1, 2, 0))
        self.check(True, Operation(WRITE, 0, 3, 5), Operation(READ, 1, 2, 5))
        self.check(True, Operation(WRITE, 0, 9, 5), Operation(WRITE, 0, 9, 6), Operation(READ, 1, 2, 6), Operation(READ, 3, 4, 5))

    def test_nobody_reads_backwards(self):
        self.check(False, Operation(WRITE, 0, 9, 5), Operation(READ, 1, 2, 5), Operation(READ, 3, 4, 0))

    def test_an_unknown_write_may_happen_late_once_or_never(self):
        self.check(True, Operation(WRITE, 0, math.inf, 5), Operation(READ, 1, 2, 0))
        self.check(True, Operation(WRITE, 0, math.inf, 5), Operation(READ, 1, 2, 0), Operation(READ, 8, 9, 5))
        self.check(False, Operation(WRITE, 0, math.inf, 5), Operation(READ, 1, 2, 5), Operation(WRITE, 3, 4, 6), Operation(READ, 5, 6, 5))
        self.check(False, Operation(READ, 1, 2, 5), Operation(WRITE, 3, math.inf, 5))

    def test_of_two_exchanges_of_one_value_one_succeeds(self):
        self.check(True, Operation(CAS, 0, 9, 5, 0, True), Operation(CAS, 0, 9, 6, 0, False))
        self.check(False, Operation(CAS, 0, 9, 5, 0, True), Operation(CAS, 0, 9, 6, 0, True))
        self.check(False, Operation(CAS, 0, 1, 5, 0, False))
        self.check(True, Operation(CAS, 0, math.inf, 5, 0), Operation(CAS, 1, 2, 6, 5, True))

    def test_many_unknown_writes_do_not_keep_it_from_a_verdict(self):
        lost = [Operation(WRITE, 0, math.inf, 100 + i) for i in range(60)]
        rounds = [operation for t in range(1, 100, 2) for operation in
                  (Operation(WRITE, t, t + 0.3, t), Operation(CAS, t + 0.4, t + 0.6, 1000 + t, t, False), Operation(CAS, t + 0.5, t + 0.7, 2000 + t, t, False))]
        self.check(True, *lost, *rounds)
        self.check(False, *lost, *rounds, Operation(READ, 101, 102, 1))


class Client(threading.Thread):
    """Reads and writes the registers at one replica, one request after the other, and writes down what it saw.

    It is not patient: so it asks a leader that stands still again when there is another one already, which may have written.
    """

    def __init__(self, cluster, number, stop):
        super().__init__(daemon=True)
        self.cluster, self.number, self.stop_event = cluster, number, stop
        self.replica = list(cluster.ids)[number % cluster.n]
        self.rng = random.Random(SEED * 1000 + number)
        self.history = {key: [] for key in range(KEYS)}
        self.last_seen = dict.fromkeys(range(KEYS), 0)
        self.n_values = 0
        self.refused = []

    def run(self):
        while not self.stop_event.is_set():
            self.step()

    def new_value(self):
        self.n_values += 1
        return self.number * 1000000 + self.n_values

    def step(self):
        key = self.rng.randrange(KEYS)
        kind = self.rng.choice([READ, READ, WRITE, CAS])
        value, expected = None, self.last_seen[key]
        path = f'/notes?id=eq.{key}&select=n'
        if kind == READ:
            method, body = 'GET', None
        else:
            method, value = 'PATCH', self.new_value()
            body = {'n': value}
            if kind == CAS:
                path += f'&n=eq.{expected}'
        began = time.monotonic()
        try:
            answer = self.cluster.request(self.replica, method, path, body, {'Prefer': 'return=representation'}, timeout=1.5)
            ended = time.monotonic()
        except (OSError, http.client.HTTPException):
            answer = None
        if answer is None or answer.status == 504:
            if kind != READ:
                self.history[key].append(Operation(kind, began, math.inf, value, expected, None, f'client {self.number} at {self.replica}'))
            time.sleep(0.02)
            return
        if answer.status == 503:
            time.sleep(0.02)
            return
        if answer.status != 200:
            self.refused.append(repr(answer))
            return
        rows = answer.json()
        if kind == READ:
            value = rows[0]['n']
        done = None if kind == READ else len(rows) == 1
        self.history[key].append(Operation(kind, began, ended, value, expected, done, f'client {self.number} at {self.replica}'))
        if kind == READ or done:
            self.last_seen[key] = value


class Histories(unittest.TestCase):
    def fault(self, cluster, rng):
        """One fault, and its end."""
        victim = cluster.leader() if rng.random() < 0.7 else rng.choice(list(cluster.ids))
        kind = rng.choice(['kill', 'stop', 'stop', 'cut', 'postgres'])
        print(f'{kind}: replica {victim}', flush=True)
        seconds = rng.uniform(0.5, 3)
        if kind == 'kill':
            cluster.kill_proxy(victim)
            time.sleep(seconds)
            cluster.start(victim)
        elif kind == 'stop':  # a leader that wakes up does not know that it was deposed
            cluster.processes[victim].send_signal(signal.SIGSTOP)
            time.sleep(seconds + 2)
            cluster.processes[victim].send_signal(signal.SIGCONT)
        elif kind == 'cut':
            cluster.cut(victim)
            time.sleep(seconds)
            cluster.heal()
        else:
            wait_until(lambda: cluster.postgres_pid(victim), 30, 'a server')
            try:
                cluster.kill_postgres(victim)
            except (AssertionError, ProcessLookupError):
                pass  # it was on its way down or up
        time.sleep(rng.uniform(0.5, 2))

    @contextlib.contextmanager
    def told_if_wrong(self, key, history):
        """Prints the history that is wrong, or that the search gave up on: an Operation per line, in JSON."""
        try:
            yield
        except (AssertionError, Undecided):
            print(f'history of register {key}:')
            for operation in sorted(history, key=lambda operation: operation.began):
                print(json.dumps(operation))
            raise

    def test_an_order_of_all_reads_and_writes_explains_what_clients_saw(self):
        rng = random.Random(SEED)
        print(f'seed {SEED}, {FAULTS} faults')
        with CutCluster.make() as cluster:
            cluster.start_all()
            for key in range(KEYS):
                self.assertEqual(cluster.request(1, 'POST', '/notes', {'id': str(key), 'n': 0}).status, 201)
            stop = threading.Event()
            clients = [Client(cluster, number, stop) for number in range(1, CLIENTS + 1)]
            for client in clients:
                client.start()
            try:
                for _ in range(FAULTS):
                    self.fault(cluster, rng)
                cluster.wait_ready(seconds=90)
                time.sleep(1)
            finally:
                stop.set()
                for client in clients:
                    client.join(60)
            self.assertEqual([text for client in clients for text in client.refused][:3], [])
            n, n_unknown = 0, 0
            for key in range(KEYS):
                history = [operation for client in clients for operation in client.history[key]]
                n += len(history)
                n_unknown += sum(operation.ended == math.inf for operation in history)
                with self.told_if_wrong(key, history):
                    stuck = stuck_at(history, 0)
                    self.assertIsNone(stuck, f'register {key}: nothing explains one of\n' + '\n'.join(map(str, stuck or [])))
            print(f'{n} operations, {n_unknown} of them with an unknown outcome')
            self.assertGreater(n, 200)
            cluster.verify(90)


if __name__ == '__main__':
    unittest.main(verbosity=2)
