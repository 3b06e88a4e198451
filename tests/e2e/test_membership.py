#!/usr/bin/env python3
"""Members come and go by editing config.json while clients write: 1, 3, 5, 3 and 1 replicas, and nothing fails."""
import collections
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest
import uuid

from cluster import CAUCUS, CutCluster, command, end_with_us, free_base, wait_until

SIZE_MAX = 5


class Members(CutCluster):
    """Replicas that are added to and removed from config.json."""

    def __init__(self, n=1):
        super().__init__(n)
        self.ids = list(self.ids)
        self.base = free_base(SIZE_MAX)
        self.ports = {}

    @classmethod
    def make(cls, n=1):
        # A slow disk is no failure; a write that is lost on its way is answered late, and then with one.
        self = super().make(n, timeouts={'request_ms': 30000})
        for relay in self.relays.values():
            relay.close()
        self.relays = {}
        return self

    def port(self, replica):
        return self.ports.get(replica) or super().port(replica)

    def print_logs(self):
        self.ids = sorted(self.processes)
        super().print_logs()

    def read_config(self):
        with open(self.config, encoding='utf-8') as file:
            return json.load(file)

    def write_config(self, config):
        with open(self.config + '.new', 'w', encoding='utf-8') as file:
            json.dump(config, file, indent=2)
        os.rename(self.config + '.new', self.config)

    def list_replicas(self, ids):
        """Makes config.json list these replicas; new ones get a directory and a key."""
        config = self.read_config()
        known = {replica['id']: replica for replica in config['replicas']}
        config['replicas'] = [known.get(replica) or self.make_replica(replica) for replica in ids]
        self.write_config(config)

    def start(self, replica, join=False):
        words = [CAUCUS, 'serve', '--config', self.config, '--replica', str(replica)] + (['--join'] if join else [])
        with open(os.path.join(self.data, str(replica), 'caucus.log'), 'ab') as log:
            self.processes[replica] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_us)

    def reload(self, *words, code=0):
        def reload():
            result = command('reload', '--config', self.config, '--wait', '60', *words, timeout=180)
            return None if 'there is no leader' in result.stderr else result  # on a busy machine there may be an election

        result = wait_until(reload, 20, 'a reload with a leader')
        assert result.returncode == code, f'{result.returncode}: {result.stdout}{result.stderr}'
        return result.stdout + result.stderr

    def voters(self, replica):
        status = self.status(replica)
        return status and [member['id'] for member in status['replicas'] if member['voter']]

    def has_logged(self, replica, text):
        with open(os.path.join(self.data, str(replica), 'caucus.log'), encoding='utf-8') as file:
            return text in file.read()


class Load:
    """Clients that each send one write after the other, spread over the replicas in `cluster.ids`. A write may be refused as not
    executed by a replica that is leaving (503, CC220), then the same one is sent to another; and, on a machine whose disk stands still for
    a second, by one that has too much to do (503, CC202). Whatever else is not 201 is a failure."""

    def __init__(self, cluster, n_strong=6, n_weak=2):
        self.cluster = cluster
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.runs = threading.Event()
        self.runs.set()
        self.leaving = set()
        self.under_way = collections.Counter()
        self.acknowledged = {'/transfers': [], '/presence': []}
        self.failures = []
        self.moved = self.too_busy = 0
        self.slowest = 0.0
        paths = ['/transfers'] * n_strong + ['/presence'] * n_weak
        self.threads = [threading.Thread(target=self.run, args=(i, path), daemon=True) for i, path in enumerate(paths)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.runs.set()
        for thread in self.threads:
            thread.join(60)

    def run(self, turn, path):
        while self.runs.wait() and not self.ended.is_set():
            tag = str(uuid.uuid4())
            began = time.monotonic()
            answer = None
            while answer is None and time.monotonic() < began + 120:
                turn += 1
                answer = self.send(path, tag, turn)
            with self.lock:
                self.slowest = max(self.slowest, time.monotonic() - began)
                if answer == 201:
                    self.acknowledged[path].append(tag)
                else:
                    self.failures.append((round(time.monotonic(), 2), answer))

    def send(self, path, tag, turn):
        """201, what went wrong, or None: to be sent elsewhere."""
        with self.lock:
            replica = self.cluster.ids[turn % len(self.cluster.ids)]
            self.under_way[replica] += 1
        body = {'tag': tag, 'amount': 1} if path == '/transfers' else {'id': tag, 'status': 'here'}
        try:
            answer = self.cluster.request(replica, 'POST', path, body, {'Idempotency-Key': tag}, timeout=60)
        except (OSError, http.client.HTTPException) as error:
            return f'replica {replica}: {error!r}'
        finally:
            with self.lock:
                self.under_way[replica] -= 1
        if answer.status == 201:
            return 201
        if replica in self.leaving and answer.status == 503 and b'CC220' in answer.body:
            with self.lock:
                self.moved += 1
            return None
        if answer.status == 503 and b'CC202' in answer.body:
            with self.lock:
                self.too_busy += 1
            time.sleep(0.1)
            return None
        return f'replica {replica}: {answer!r}'

    def verify(self):
        self.runs.clear()
        self.cluster.verify()
        self.runs.set()

    def leave(self, replica):
        """Clients go elsewhere; returns when none waits for an answer of that replica."""
        with self.lock:
            self.cluster.ids.remove(replica)
        wait_until(lambda: self.under_way[replica] == 0, 60, f'no request at replica {replica}')


class Reload(unittest.TestCase):
    def test_sighup_and_the_endpoint_do_what_the_command_does_and_a_dry_run_does_nothing(self):
        with Members.make(3) as cluster:
            cluster.start_all()
            cluster.list_replicas([1, 2])
            self.assertEqual(cluster.status(2)['config_differs'], ['replica 3 is not in the file'])
            told = command('status', '--config', cluster.config)
            self.assertEqual(told.stdout.count('config.json: replica 3 is not in the file'), 2) # those that are listed are asked
            self.assertEqual(cluster.reload('--dry-run').strip(), 'remove replica 3 (not done)')
            answer = cluster.request(2, 'POST', '/_caucus/reload', {'dry_run': True})
            self.assertEqual((answer.status, answer.json()), (200, {'changes': [{'action': 'remove', 'id': 3}], 'dry_run': True}))
            self.assertEqual(cluster.voters(2), [1, 2, 3])
            # A follower is told; the leader changes.
            cluster.processes[2].send_signal(signal.SIGHUP)
            wait_until(lambda: cluster.has_logged(2, 'event=reload replica=2 state=done changes=1 left=0'), 20, 'the log tells the outcome')
            wait_until(lambda: cluster.voters(1) == [1, 2], 20, 'voters')
            self.assertEqual(cluster.status(2)['reload'], {'state': 'done', 'changes': 1, 'left': 0, 'why': ''})
            self.assertEqual(cluster.status(2)['config_differs'], [])
            self.assertEqual(cluster.status(1)['config_differs'], [])  # the same file, and it looks at it as it stands
            # What is wrong with the file is said, and nothing happens.
            config = cluster.read_config()
            config['replicas'][1]['peer'] = 'nowhere'
            cluster.write_config(config)
            cluster.processes[1].send_signal(signal.SIGHUP)
            wait_until(lambda: cluster.has_logged(1, 'event=reload replica=1 state=refused'), 20, 'a refusal')
            answer = cluster.request(1, 'POST', '/_caucus/reload')
            self.assertEqual((answer.status, answer.json()['code']), (400, 'CC222'))
            self.assertIn('the file cannot be read', cluster.status(1)['config_differs'][0])
            self.assertEqual(cluster.voters(1), [1, 2])
            # Without a majority there is an explanation instead of a change.
            cluster.list_replicas([1])
            config = cluster.read_config()
            cluster.processes[2].kill()
            cluster.processes[2].wait()
            wait_until(lambda: not cluster.status(1)['replicas'][1]['reachable'], 20, 'replica 2 unreachable')
            self.assertIn('a majority of the present members is not reachable', cluster.reload(code=69))
            self.assertEqual(cluster.voters(1), [1, 2])

    def test_key_and_addresses_of_a_replica_change_and_a_replica_is_replaced(self):
        with Members.make(3) as cluster:
            cluster.start_all()
            with Load(cluster, 3, 1) as load:
                load.leave(3)
                config = cluster.read_config()
                moved = config['replicas'][2]
                moved['http'], moved['peer'] = f'127.0.0.1:{cluster.base + 4}', f'127.0.0.1:{cluster.base + 104}'
                moved['public_key'] = cluster.make_key(3)
                cluster.write_config(config)
                self.assertEqual(cluster.reload().strip(), 'change replica 3')
                cluster.processes[3].terminate()
                cluster.processes[3].wait()
                cluster.ports[3] = cluster.base + 4
                cluster.start(3)
                cluster.wait_ready([3])
                # Another machine takes the place: the old one is removed, an empty one added under the same number.
                cluster.list_replicas([1, 2])
                cluster.reload()
                cluster.processes[3].terminate()
                cluster.processes[3].wait()
                for part in ('log', 'postgres', 'removed'):
                    path = os.path.join(cluster.data, '3', part)
                    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                del cluster.ports[3]
                cluster.list_replicas([1, 2, 3])
                cluster.start(3, join=True)
                cluster.reload()
                cluster.wait_ready([3])
            self.assertEqual(load.failures[:5], [])
            cluster.ids = [1, 2, 3]
            cluster.verify()


class Growth(unittest.TestCase):
    def grow(self, cluster, load, ids):
        new = [replica for replica in ids if replica not in cluster.ids]
        cluster.list_replicas(ids)
        for replica in new:
            cluster.start(replica, join=True)
        cluster.reload()
        cluster.wait_ready(new)
        with load.lock:
            cluster.ids += new
        wait_until(lambda: cluster.voters(1) == ids, 20, f'voters {ids}')  # it may be in the minority that has not heard yet

    def shrink(self, cluster, load, ids):
        gone = [replica for replica in cluster.ids if replica not in ids]
        load.leaving |= set(gone)
        cluster.list_replicas(ids)
        cluster.reload()
        for replica in gone:
            wait_until(lambda r=replica: (cluster.status(r) or {}).get('member') is False, 20, f'replica {replica} knows that it is removed')
            load.leave(replica)
            self.check_removed(cluster, replica)
            cluster.processes[replica].terminate()
            self.assertEqual(cluster.processes[replica].wait(60), 0)
        survivor = ids[0]
        wait_until(lambda: cluster.voters(survivor) == ids, 20, f'voters {ids}')

    def check_removed(self, cluster, replica):
        for path in ('/notes', '/presence', '/rpc/nothing', '/_caucus/tables'):
            for headers in ({}, {'Prefer': 'consistency=local'}):
                answer = cluster.request(replica, 'GET', path, headers=headers)
                self.assertEqual((answer.status, answer.json()['code']), (503, 'CC220'), answer)

    def check_disturbs_nobody(self, cluster, replica):
        """It asks for no election: whatever terms the others have, on a busy machine, it knows of no later one."""
        until = time.monotonic() + 2.5  # longer than an election timeout
        while time.monotonic() < until:
            status, later = cluster.status(replica), cluster.status(1)
            if status and later:
                self.assertNotIn(status['role'], ('candidate', 'leader'))
                self.assertLessEqual(status['term'], later['term'])
            time.sleep(0.02)

    def test_1_3_5_3_1_replicas_under_load_without_a_failed_write(self):
        with Members.make() as cluster:
            cluster.start_all()
            with Load(cluster) as load:
                time.sleep(0.5)
                self.grow(cluster, load, [1, 2, 3])
                self.grow(cluster, load, [1, 2, 3, 4, 5])
                self.assertEqual(cluster.reload().strip(), 'nothing to change')
                load.verify()
                # The leader is among those that go.
                self.shrink(cluster, load, [2, 4, 5])
                load.verify()
                self.shrink(cluster, load, [4])
                time.sleep(0.5)
            n = {path: len(tags) for path, tags in load.acknowledged.items()}
            print(f'{n} written, {load.moved} sent elsewhere, {load.too_busy} refused for a while, slowest {load.slowest:.2f} s')
            self.assertEqual(load.failures[:5], [])
            self.assertGreater(n['/transfers'], 200)
            for path, column in (('/transfers', 'tag'), ('/presence', 'id')):
                found = collections.Counter(row[column] for row in cluster.get(4, f'{path}?select={column}'))
                self.assertEqual([tag for tag in load.acknowledged[path] if found[tag] != 1][:3], [], path)

    def test_a_removed_replica_knows_it_after_a_restart_and_disturbs_nobody(self):
        with Members.make(3) as cluster:
            cluster.start_all()
            cluster.list_replicas([1, 2])
            self.assertIn('remove replica 3', cluster.reload())
            wait_until(lambda: not cluster.status(3)['member'], 20, 'told')
            cluster.processes[3].kill()
            cluster.processes[3].wait()
            cluster.list_replicas([1, 2, 3])  # as an old config.json would have it
            cluster.start(3)
            status = wait_until(lambda: cluster.status(3), 20, 'status')
            self.assertFalse(status['member'])
            self.check_removed(cluster, 3)
            self.assertEqual(cluster.request(1, 'POST', '/notes', {'id': 'one'}).status, 201)
            self.check_disturbs_nobody(cluster, 3)
            # Taken back, with what it has.
            cluster.processes[3].kill()
            cluster.processes[3].wait()
            cluster.start(3, join=True)
            cluster.reload()
            cluster.wait_ready()
            self.assertTrue(cluster.status(3)['member'])
            cluster.verify()
            self.assertFalse(os.path.exists(os.path.join(cluster.data, '3', 'removed')))

    def test_a_replica_that_was_down_when_it_was_removed_is_told_at_its_next_contact(self):
        with Members.make(3) as cluster:
            cluster.start_all()
            self.assertEqual(cluster.request(1, 'POST', '/notes', {'id': 'old'}).status, 201)
            cluster.kill_proxy(3)
            cluster.list_replicas([1, 2])
            self.assertIn('remove replica 3', cluster.reload())
            for replica in (1, 2):  # and have forgotten that they knew it
                cluster.kill_proxy(replica)
                cluster.start(replica)
            cluster.wait_ready([1, 2])
            self.assertEqual(cluster.request(1, 'POST', '/notes', {'id': 'new'}).status, 201)
            cluster.list_replicas([1, 2, 3])  # as the file on its machine still is
            cluster.start(3)
            wait_until(lambda: (cluster.status(3) or {}).get('member') is False, 20, 'told')
            wait_until(lambda: cluster.has_logged(3, 'event=removed'), 60, 'the log tells it')
            self.check_removed(cluster, 3)
            cluster.kill_proxy(3)
            cluster.start(3)
            wait_until(lambda: cluster.status(3), 20, 'status')
            self.check_removed(cluster, 3)  # from now on, whoever is reachable
            self.assertEqual(cluster.request(2, 'POST', '/notes', {'id': 'newer'}).status, 201)
            self.check_disturbs_nobody(cluster, 3)

    def test_a_replica_that_was_away_while_all_others_changed_finds_the_new_ones(self):
        with Members.make(3) as cluster:
            cluster.start_all()
            cluster.processes[3].kill()
            cluster.processes[3].wait()
            cluster.list_replicas([1, 2, 3, 4])
            cluster.start(4, join=True)
            cluster.reload()
            cluster.list_replicas([1, 2, 3, 4, 5])
            cluster.start(5, join=True)
            cluster.reload()
            cluster.list_replicas([3, 4, 5])
            cluster.reload()
            self.assertEqual(cluster.request(4, 'POST', '/notes', {'id': 'one'}).status, 201)
            for replica in (1, 2):
                cluster.processes[replica].terminate()
                cluster.processes[replica].wait()
            cluster.start(3)
            cluster.wait_ready([3, 4, 5])
            self.assertEqual([row['id'] for row in cluster.get(3, '/notes')], ['one'])


if __name__ == '__main__':
    unittest.main(verbosity=2)
