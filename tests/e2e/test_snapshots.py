#!/usr/bin/env python3
"""The log is cut, and replicas that need what was cut away, or have lost their data, are brought up to date.

CAUCUS_E2E_LONG=1: also the tests that take long and whose parts the others cover.
"""
import contextlib
import json
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest

from cluster import CAUCUS, Cluster, CutCluster, command, wait_until
from test_kills import Writers

LONG = unittest.skipUnless(os.environ.get('CAUCUS_E2E_LONG'), 'only with CAUCUS_E2E_LONG=1')
SMALL_LOG = {'log_segment_bytes': 1 << 20, 'log_megabytes': 4}


def make(limits=SMALL_LOG):
    """A running cluster with these limits from its first byte on."""
    cluster = CutCluster.make(limits=limits)
    try:
        cluster.start_all()
    except BaseException:
        cluster.close(failed=True)
        raise
    return cluster


def wipe(cluster, replica, *parts):
    for part in parts:
        path = os.path.join(cluster.data, str(replica), part)
        if os.path.islink(path):
            shutil.rmtree(os.path.dirname(os.path.realpath(path)), ignore_errors=True)
            os.unlink(path)
        else:
            shutil.rmtree(path)


def write(cluster, replica, first, n, table='notes', size=2000):
    """Rows first..first+n-1, a few hundred per request."""
    for start in range(first, first + n, 200):
        rows = [{'id': f'{table} {i}', **({'tag': 'x' * size, 'n': i} if table == 'notes' else {'status': 'x' * size})}
                for i in range(start, min(start + 200, first + n))]
        answer = cluster.request(replica, 'POST', f'/{table}', rows)
        assert answer.status == 201, answer


def write_in_vain(cluster, replica, key):
    with contextlib.suppress(OSError):
        cluster.request(replica, 'POST', '/notes', {'id': key}, timeout=5)


def log_state(cluster, replica):
    """Of a replica that does not run."""
    result = command('log', 'verify', '--json', os.path.join(cluster.data, str(replica), 'log'))
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


def stop(cluster, replica):
    process = cluster.processes[replica]
    process.terminate()
    assert process.wait(60) == 0, process.returncode


@LONG
class Truncation(unittest.TestCase):
    def test_the_log_is_cut_and_replicas_start_from_what_is_left(self):
        with make() as cluster:
            write(cluster, 1, 0, 6000)
            write(cluster, 2, 0, 6000, 'presence')
            cluster.verify()
            for replica in cluster.ids:
                wait_until(lambda r=replica: segments(cluster, r) <= 5, 20, f'a short log of replica {replica}')
            for replica in cluster.ids:
                stop(cluster, replica)
            for replica in cluster.ids:
                state = log_state(cluster, replica)
                self.assertNotEqual(state['first_index'], 1, state)  # 0: no entry is left
            cluster.start_all()
            write(cluster, 3, 6000, 10)
            write(cluster, 2, 6000, 10, 'presence')
            cluster.verify()
            for replica in cluster.ids:
                self.assertEqual(len(cluster.get(replica, '/notes?select=id')), 6010)
                self.assertEqual(len(cluster.get(replica, '/presence?select=id')), 6010)
            cluster.kill_postgres(1)
            cluster.kill_proxy(2)
            cluster.start(2)
            cluster.wait_ready()
            cluster.verify()


def cut_away(cluster, away):
    """Writes until the log no longer reaches back to where `away` stopped."""
    others = [replica for replica in cluster.ids if replica != away]
    for row in range(10000, 40000, 1000):
        write(cluster, others[0], row, 1000)
        if all(segments(cluster, replica) <= 6 for replica in others) and row >= 15000: # three times log_megabytes
            return


def log_written(cluster, replica):
    """When the log was last written to."""
    newest = 0
    for entry in os.scandir(os.path.join(cluster.data, str(replica), 'log')):
        try:
            newest = max(newest, entry.stat().st_mtime)
        except FileNotFoundError:
            pass  # cut meanwhile
    return newest


def segments(cluster, replica):
    return len(os.listdir(os.path.join(cluster.data, str(replica), 'log')))


def installed(cluster, replica):
    with open(os.path.join(cluster.data, str(replica), 'caucus.log'), encoding='utf-8') as file:
        return file.read().count('event=snapshot_installed')


class Snapshots(unittest.TestCase):
    def test_a_follower_down_past_truncation_gets_a_snapshot_in_which_deleted_rows_are_gone(self):
        with make() as cluster:
            write(cluster, 1, 0, 1000)
            write(cluster, 1, 0, 500, 'presence')
            cluster.verify()
            away = 3
            stop(cluster, away)
            self.assertEqual(cluster.request(1, 'DELETE', '/notes?n=lt.700').status, 204)
            self.assertEqual(cluster.request(2, 'DELETE', '/presence?id=eq.presence%2017').status, 204)
            answer = cluster.request(1, 'POST', '/_caucus/migrations?name=0002_more', """
                ALTER TABLE notes ADD COLUMN extra text NOT NULL DEFAULT 'none';
                CREATE TABLE more (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
                INSERT INTO more DEFAULT VALUES;
                INSERT INTO totals VALUES ('more', 1);
            """, {'Content-Type': 'application/sql'})
            self.assertEqual(answer.status, 201, answer)
            cut_away(cluster, away)
            cluster.start(away)
            cluster.wait_ready()
            cluster.verify()
            self.assertEqual(installed(cluster, away), 1)
            self.assertEqual(cluster.get(away, '/notes?n=lt.700'), [])
            self.assertEqual(cluster.request(away, 'POST', '/more', [{}, {}]).status, 201)
            self.assertEqual(cluster.request(away, 'POST', '/presence', {'id': 'back', 'status': 'here'}).status, 201)
            cluster.verify()
            self.assertEqual(len(cluster.get(away, '/more')), 3)

    @LONG
    def test_a_replica_whose_postgres_was_wiped_gets_everything_again(self):
        with make() as cluster:
            write(cluster, 1, 0, 6000)
            write(cluster, 3, 0, 600, 'presence')
            cluster.verify()
            wait_until(lambda: segments(cluster, 3) <= 5, 20, 'a short log')
            stop(cluster, 3)
            write(cluster, 1, 6000, 10)
            wipe(cluster, 3, 'postgres')
            cluster.start(3)
            cluster.wait_ready()
            cluster.verify()
            write(cluster, 3, 600, 10, 'presence')
            cluster.verify()
            self.assertEqual(len(cluster.get(3, '/presence?select=id')), 610)


class Amnesia(unittest.TestCase):
    """Replica 3 loses, or gets back an older copy of, its log, its database or both, while others write."""

    def lose(self, what, how, others_restart=False, life_between=False):
        with make() as cluster:
            write(cluster, 3, 0, 2000)
            write(cluster, 3, 0, 200, 'presence')
            cluster.verify()
            stop(cluster, 3)
            copies = {}
            if how == 'older':
                for part in what:
                    copies[part] = os.path.join(cluster.root, 'copy-' + part)
                    source = os.path.realpath(os.path.join(cluster.data, '3', part))
                    subprocess.run(['cp', '-a', source, copies[part]], check=True)
                cluster.start(3)
                cluster.wait_ready()
                write(cluster, 3, 2000, 1000)
                write(cluster, 3, 200, 100, 'presence')
                cluster.verify()
                stop(cluster, 3)
            if life_between:
                for part in what:
                    wipe(cluster, 3, part)
                cluster.start(3)
                wait_until(lambda: not (cluster.status(3) or {'recovering': True}).get('recovering'), 30, 'replica 3 recovered')
                cluster.wait_ready()
                write(cluster, 3, 4000, 100)
                write(cluster, 3, 400, 100, 'presence')
                cluster.verify()
                stop(cluster, 3)
            for part in what:
                target = os.path.realpath(os.path.join(cluster.data, '3', part))
                if how == 'older':
                    shutil.rmtree(target)
                    os.rename(copies[part], target)
                else:
                    wipe(cluster, 3, part)
            write(cluster, 1, 5000, 20)
            if others_restart:
                written = time.time() + 1  # what is known of other logs is written down every second
                for replica in (1, 2):
                    wait_until(lambda r=replica: log_written(cluster, r) > written, 30, f'a mark in the log of {replica}')
                    cluster.kill_proxy(replica)
                    cluster.start(replica)
                cluster.wait_ready([1, 2])
            n_forgotten = 0
            with Writers(cluster, 4) as writers:
                cluster.start(3)
                for _ in range(300):  # as a service manager would
                    if cluster.processes[3].poll() is not None:
                        self.assertEqual(cluster.processes[3].returncode, 75)
                        n_forgotten += 1
                        cluster.start(3)
                    status = cluster.status(3)
                    if status and not status.get('recovering') and not status.get('halted') and cluster.is_ready(3):
                        break
                    time.sleep(0.1)
                else:
                    raise AssertionError(f'replica 3 does not come back: {status}')
            self.assertEqual(n_forgotten, how == 'older' and 'log' in what)
            self.assertEqual(writers.refused[:3], [])
            write(cluster, 3, 6000, 20)
            write(cluster, 3, 6000, 20, 'presence')
            cluster.verify()
            found = {row['tag'] for row in cluster.get(3, '/transfers?select=tag')}
            self.assertEqual([tag for tag, _ in writers.acknowledged if tag not in found][:3], [])
            # It votes again: with one of the others gone, the cluster goes on.
            stop(cluster, 1)
            wait_until(lambda: cluster.request(3, 'POST', '/notes', {'id': str(time.monotonic())}).status == 201, 20, 'a write with two replicas')

    @LONG
    def test_the_log_is_lost(self):
        self.lose(['log'], 'gone')

    @LONG
    def test_log_and_database_are_lost(self):
        self.lose(['log', 'postgres'], 'gone')

    @LONG
    def test_an_older_copy_of_the_log_is_noticed(self):
        self.lose(['log'], 'older')

    @LONG
    def test_an_older_copy_of_the_database_is_brought_up_to_date(self):
        self.lose(['postgres'], 'older')

    def test_older_copies_of_both_are_noticed_by_the_others_which_have_been_restarted(self):
        self.lose(['log', 'postgres'], 'older', others_restart=True)

    def test_an_older_copy_that_is_as_long_as_what_is_remembered_but_of_entries_that_were_replaced_is_noticed(self):
        with make() as cluster:
            write(cluster, 1, 0, 20)
            wait_until(lambda: cluster.leader() == 1, 60, 'replica 1 leads')
            for replica in (2, 3):
                cluster.kill_proxy(replica)
            held = cluster.status(1)['applied']
            # It goes on with its office for a moment, so its log has entries that the others will never see.
            writers = []
            for i in range(12):
                writers.append(threading.Thread(target=write_in_vain, args=(cluster, 1, f'lost {i}')))
                writers[-1].start()
                time.sleep(0.02)
            wait_until(lambda: cluster.status(1)['role'] != 'leader', 30, 'replica 1 gives up its office')
            cluster.kill_proxy(1)
            for writer in writers:
                writer.join()
            source = os.path.realpath(os.path.join(cluster.data, '1', 'log'))
            copy = os.path.join(cluster.root, 'copy')
            subprocess.run(['cp', '-a', source, copy], check=True)
            copied = log_state(cluster, 1)['last_index']
            self.assertGreater(copied, held + 2)

            for replica in (2, 3):
                cluster.start(replica)
            cluster.wait_ready([2, 3])
            cluster.start(1)
            cluster.wait_ready()
            cluster.verify()
            stop(cluster, 1)
            # The copy is no shorter than what its database has applied, and than what the others remember of its log.
            self.assertGreaterEqual(copied, cluster.status(2)['applied'])
            shutil.rmtree(source)
            os.rename(copy, source)
            cluster.start(1)
            self.assertEqual(cluster.processes[1].wait(60), 75)
            cluster.start(1)
            cluster.wait_ready()
            wait_until(lambda: not (cluster.status(1) or {'recovering': True}).get('recovering'), 60, 'replica 1 recovered')
            write(cluster, 1, 20, 20)
            cluster.verify()
            self.assertEqual(len(cluster.get(3, '/notes?select=id&id=like.lost*')), 0)

    def test_copies_of_an_earlier_life_are_noticed_by_the_others_which_have_been_restarted(self):
        self.lose(['log', 'postgres'], 'older', others_restart=True, life_between=True)


def shim(told):
    """The environment of a program whose syncs do what the file `told` says."""
    environment = {'LD_PRELOAD': os.environ.get('CAUCUS_DISK_SHIM', ''), 'DISK_SHIM': told}
    result = subprocess.run([CAUCUS, '--help'], env={**os.environ, **environment}, capture_output=True, check=False)
    if result.stderr or not environment['LD_PRELOAD']:
        raise unittest.SkipTest('needs CAUCUS_DISK_SHIM, and a program that it can be preloaded into')
    return environment


def tell(told, text):
    with open(told + '.new', 'w', encoding='utf-8') as file:
        file.write(text)
    os.rename(told + '.new', told)


class Disk(unittest.TestCase):
    def small_disk(self, path, megabytes):
        """Puts a directory on a disk of its own."""
        options = f'size={megabytes}m,mode=755'
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'caucus-e2e', path], capture_output=True, check=False).returncode != 0:
            self.skipTest('needs the right to mount a small disk')
        self.addCleanup(subprocess.run, ['umount', '-l', path], check=False)

    @staticmethod
    def fill(path, left):
        ballast = os.path.join(path, 'ballast.new') # which is not taken for a part of a log
        with open(ballast, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(path).free - left)
        return ballast

    def test_a_leader_whose_log_finds_no_space_hands_over_and_returns_by_itself(self):
        cluster = CutCluster.make(limits=SMALL_LOG)
        self.addCleanup(shutil.rmtree, cluster.root, ignore_errors=True)
        path = os.path.join(cluster.data, '1', 'log')
        os.mkdir(path)
        self.small_disk(path, 32)
        with cluster:
            cluster.start_all()
            write(cluster, 1, 0, 200)
            cluster.verify()
            wait_until(lambda: cluster.leader() == 1, 60, 'replica 1 leads')  # the first in line
            ballast = self.fill(path, 0)
            before = cluster.status(1)['applied']
            ids = itertools.count()

            def hands_over():  # it notices when it needs the next segment
                row = {'id': f'full {next(ids)}', 'tag': 'x' * 10000}
                self.assertIn(cluster.request(2, 'POST', '/notes', row).status, (201, 507))
                return cluster.leader() in (2, 3)
            wait_until(hands_over, 60, 'another one leads')
            # As a follower it acknowledges nothing and serves local reads.
            write(cluster, 2, 200, 2000)  # four segments
            self.assertEqual(cluster.request(1, 'GET', '/notes?id=eq.notes%207&select=n', headers={'Prefer': 'consistency=local'}).json(), [{'n': 7}])
            wait_until(lambda: cluster.request(1, 'POST', '/presence', {'id': str(time.monotonic())}).status == 507, 60, '507')
            self.assertTrue(before <= cluster.status(1)['applied'] < cluster.status(2)['applied'])
            os.unlink(ballast)
            cluster.verify()
            self.assertIsNone(cluster.processes[1].poll())
            self.assertEqual(len(cluster.get(1, '/notes?select=id&id=like.notes*')), 2200)

    def test_a_leader_with_a_slow_disk_hands_over_and_one_whose_sync_fails_ends_with_74_and_comes_back(self):
        cluster = CutCluster.make(limits={'log_sync_ms': 60})
        self.addCleanup(cluster.remove)
        told = os.path.join(cluster.root, 'disk')
        cluster.environment[1] = shim(told)
        with cluster:
            cluster.start_all()
            wait_until(lambda: cluster.leader() == 1, 30, 'replica 1 leads')
            with Writers(cluster, 4) as writers:
                tell(told, '200')
                wait_until(lambda: cluster.leader() != 1, 60, 'another one leads')
                self.assertTrue(cluster.status(1)['disk_slow'])
                time.sleep(5)  # longer than a first in line waits for its office
                self.assertNotEqual(cluster.leader(), 1)
                tell(told, 'fail')
                self.assertEqual(cluster.processes[1].wait(30), 74)
                tell(told, '0')
                cluster.start(1)
                cluster.wait_ready()
            self.assertEqual(writers.refused[:3], [])
            found = {row['tag'] for row in cluster.get(1, '/transfers?select=tag')}
            self.assertEqual([tag for tag, _ in writers.acknowledged if tag not in found][:3], [])
            cluster.verify()

    def test_up_starts_a_replica_again_whose_sync_failed_and_passes_sighup_on(self):
        cluster = Cluster()
        self.addCleanup(cluster.remove)
        told = os.path.join(cluster.root, 'disk')
        cluster.environment = shim(told)
        with cluster:
            leader = cluster.leader()
            with Writers(cluster, 4) as writers:
                wait_until(lambda: len(writers.acknowledged) > 50, 20, 'writes')
                tell(told, f'fail /{leader}/log/')
                wait_until(lambda: any(f'replica {leader} exited with 74, is started again' in line for line in cluster.output), 30, 'exit 74')
                tell(told, '0')
                cluster.wait_ready()
                n = len(writers.acknowledged)
                wait_until(lambda: len(writers.acknowledged) > n + 50, 20, 'writes go on')
            self.assertEqual(writers.refused[:3], [])
            found = {row['tag'] for row in cluster.get(leader, '/transfers?select=tag')}
            self.assertEqual([tag for tag, _ in writers.acknowledged if tag not in found][:3], [])
            cluster.verify()
            with open(cluster.config, encoding='utf-8') as file:
                config = json.load(file)
            del config['replicas'][2]
            with open(cluster.config + '.new', 'w', encoding='utf-8') as file:
                json.dump(config, file)
            os.rename(cluster.config + '.new', cluster.config)
            cluster.process.send_signal(signal.SIGHUP)
            wait_until(lambda: [member['id'] for member in cluster.status(1)['replicas']] == [1, 2], 30, 'the members of the file')
            cluster.ids = [1, 2]
            cluster.verify()

    def test_writes_stop_with_507_when_space_is_low_and_return_by_themselves(self):
        cluster = CutCluster.make(limits={**SMALL_LOG, 'disk_free_megabytes': 100})
        self.addCleanup(shutil.rmtree, cluster.root, ignore_errors=True)
        path = os.path.join(cluster.data, '2')
        with open(os.path.join(path, 'key'), 'rb') as file:
            key = file.read()
        self.small_disk(path, 600)
        with open(os.path.join(path, 'key'), 'wb', opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(key)
        with cluster:
            cluster.start_all()
            write(cluster, 2, 0, 10)
            ballast = self.fill(path, 50 << 20)
            for table in ('notes', 'presence'):
                wait_until(lambda t=table: cluster.request(2, 'POST', '/' + t, {'id': str(time.monotonic())}).status == 507, 10, f'507 for {table}')
            self.assertEqual(len(cluster.get(2, '/notes?tag=not.is.null')), 10)
            os.unlink(ballast)
            for table in ('notes', 'presence'):
                wait_until(lambda t=table: cluster.request(2, 'POST', '/' + t, {'id': str(time.monotonic())}).status == 201, 10, f'writes to {table}')
            cluster.verify()


if __name__ == '__main__':
    unittest.main(verbosity=2)
