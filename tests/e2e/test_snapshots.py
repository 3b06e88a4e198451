#!/usr/bin/env python3
"""The log is cut, and replicas that need what was cut away, or have lost their data, are brought up to date."""
import json
import os
import shutil
import unittest

from cluster import CutCluster, command, wait_until

SMALL_LOG = {'log_segment_bytes': 1 << 20, 'log_megabytes': 4}


def make(limits=SMALL_LOG):
    """A running cluster with these limits from its first byte on."""
    cluster = CutCluster.make()
    with open(cluster.config, encoding='utf-8') as file:
        config = json.load(file)
    config['limits'] = {**config.get('limits', {}), **limits}
    with open(cluster.config, 'w', encoding='utf-8') as file:
        json.dump(config, file, indent=2)
    for replica in cluster.ids:
        wipe(cluster, replica, 'log', 'postgres')
    try:
        cluster.start_all()
        with open(cluster.schema, encoding='utf-8') as file:
            answer = cluster.request(1, 'POST', '/_caucus/migrations?name=0001_schema', file.read(), {'Content-Type': 'application/sql'})
        assert answer.status == 201, answer
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


def log_state(cluster, replica):
    """Of a replica that does not run."""
    result = command('log', 'verify', '--json', os.path.join(cluster.data, str(replica), 'log'))
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


def stop(cluster, replica):
    process = cluster.processes[replica]
    process.terminate()
    assert process.wait(60) == 0, process.returncode


class Truncation(unittest.TestCase):
    def test_the_log_is_cut_and_replicas_start_from_what_is_left(self):
        with make() as cluster:
            write(cluster, 1, 0, 6000)
            write(cluster, 2, 0, 6000, 'presence')
            cluster.verify()
            segments = lambda r: len(os.listdir(os.path.join(cluster.data, str(r), 'log')))
            for replica in cluster.ids:
                wait_until(lambda r=replica: segments(r) <= 5, 20, f'a short log of replica {replica}')
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


if __name__ == '__main__':
    unittest.main(verbosity=2)
