#!/usr/bin/env python3
"""How long writes stand still when the leader is killed. Nothing else may run on the machine meanwhile."""
import time
import unittest

from cluster import Cluster, wait_until
from test_kills import Writers


def longest_silence(times, start, end):
    marks = sorted([start, end, *times])
    return max(b - a for a, b in zip(marks, marks[1:]))


class Failover(unittest.TestCase):
    def test_writes_go_on_within_seconds_after_the_leader_is_killed(self):
        with Cluster(options=['--no-restart']) as cluster:
            leader = cluster.leader()
            others = [replica for replica in cluster.ids if replica != leader]
            with Writers(cluster, 8) as writers:
                wait_until(lambda: len(writers.acknowledged) > 100, 20, 'writes')
                cluster.kill_proxy(leader)
                killed = time.monotonic()
                wait_until(lambda: writers.acknowledged[-1][1] > killed + 3, 20, 'writes again')
            times = [when for _, when in writers.acknowledged]
            usual = longest_silence([when for when in times if when < killed], times[0], killed)
            silence = longest_silence(times, killed, times[-1])
            print(f'silence after kill -9 of the leader: {silence:.2f} s, before it at most {usual:.2f} s, {len(times)} writes')
            self.assertLess(silence, 4 + 4 * usual)
            self.assertEqual(writers.refused[:3], [])
            found = {row['tag'] for row in cluster.get(others[0], '/transfers?select=tag')}
            self.assertEqual([tag for tag, _ in writers.acknowledged if tag not in found], [])


if __name__ == '__main__':
    unittest.main(verbosity=2)
