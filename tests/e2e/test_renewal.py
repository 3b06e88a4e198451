#!/usr/bin/env python3
"""A member that is removed while it is away, and comes back: what it wrote meanwhile is written again, or its history says that it lost."""
import unittest

from cluster import wait_until
from test_membership import Members
from test_repair import configure, sql

PAGES = """
CREATE TABLE pages (id text PRIMARY KEY, views bigint NOT NULL DEFAULT 0, tags text[], best integer);
COMMENT ON TABLE pages IS '@caucus weak';
COMMENT ON COLUMN pages.views IS '@caucus counter';
COMMENT ON COLUMN pages.tags IS '@caucus set';
COMMENT ON COLUMN pages.best IS '@caucus max';
"""
AGAIN = 75  # exit code of a process whose next start begins a new life


class Renewal(unittest.TestCase):
    def write(self, replica, method, path, body=None, **headers):
        answer = self.cluster.request(replica, method, path, body, headers)
        self.assertIn(answer.status, (200, 201, 204), answer)
        return answer

    def begin(self):
        cluster = self.cluster = Members.make(3)
        self.addCleanup(cluster.close)
        configure(cluster, 'timeouts', {'frontier_ms': 100})
        configure(cluster, 'weak', {'history_hours': 0, 'away_hours': 0})
        configure(cluster, 'limits', {'weak_memory_megabytes': 0})
        cluster.start_all()
        cluster.migrate('0002_pages', PAGES)

    def stop(self, *replicas):
        for replica in replicas:
            self.cluster.processes[replica].terminate()
        for replica in replicas:
            self.cluster.processes[replica].wait(60)

    def leave_three_alone(self):
        """Nobody hears replica 3 from now on."""
        self.cluster.verify()
        self.stop(1, 2)

    def remove_three(self):
        self.cluster.kill_proxy(3)
        for replica in (1, 2):
            self.cluster.start(replica)
        self.cluster.wait_ready([1, 2])
        for replica in (1, 2):
            wait_until(lambda r=replica: self.cluster.status(r)['garbage']['away'] == [3], 60, 'replica 3 reported')
            self.assertIn(b'\ncaucus_members_away 1\n', self.cluster.request(replica, 'GET', '/_caucus/metrics').body)
            wait_until(lambda r=replica: self.cluster.has_logged(r, 'event=member_away'), 20, 'the event')
        self.cluster.list_replicas([1, 2])
        self.assertIn('remove replica 3', self.cluster.reload())

    def forget(self):
        """Both have dropped what replica 3 would have to be told."""
        for replica in (1, 2):
            wait_until(lambda r=replica: sql(self.cluster, r, 'SELECT count(*) FROM caucus.tombstones UNION ALL SELECT count(*) FROM caucus.history') == ['0', '0'],
                       60, 'nothing left')
        self.stop(1, 2)
        configure(self.cluster, 'weak', {'history_hours': 24})  # from now on it is to be read what happened
        for replica in (1, 2):
            self.cluster.start(replica)
        self.cluster.wait_ready([1, 2])

    def take_back(self):
        self.cluster.list_replicas([1, 2, 3])
        self.cluster.start(3, join=True)
        wait_until(lambda: self.cluster.request(1, 'POST', '/_caucus/reload').status == 200, 60, 'a reload')

    def wait_for_new_life(self):
        self.assertEqual(self.cluster.processes[3].wait(300), AGAIN)

    def wait_renewed(self):
        """Nothing waits any more; what this process has done of it."""
        def is_done():
            status = self.cluster.status(3)
            renewal = status and status.get('renewal', {'waiting': 0, 'renewed': 0, 'lost': 0})
            return renewal if renewal and renewal['waiting'] == 0 and self.cluster.is_ready(3) else None
        return wait_until(is_done, 60, 'all written again')

    def rows(self, replica, path):
        return {row['id']: row for row in self.cluster.get(replica, path)}

    def test_what_was_written_while_away_is_written_again_if_it_still_wins(self):
        self.begin()
        names = ['updated', 'both fields', 'later elsewhere', 'deleted elsewhere', 'deleted here', 'upserted', 'untouched']
        self.write(1, 'POST', '/presence', [{'id': name, 'status': 'old', 'place': 'old'} for name in names])
        self.write(1, 'POST', '/pages', {'id': 'page', 'tags': ['a', 'b'], 'best': 5})
        self.leave_three_alone()
        for name in ('updated', 'both fields', 'later elsewhere', 'deleted elsewhere'):
            self.write(3, 'PATCH', '/presence?id=eq.' + name.replace(' ', '%20'), {'status': 'of three'})
        self.write(3, 'DELETE', '/presence?id=eq.deleted%20here')
        self.write(3, 'POST', '/presence', {'id': 'new', 'status': 'of three'})
        self.write(3, 'POST', '/presence', {'id': 'upserted', 'status': 'of three', 'seen': '2026-11-22T10:00:00Z'}, Prefer='resolution=merge-duplicates')
        self.write(3, 'PATCH', '/pages?id=eq.page', {'views': {'$inc': 2}, 'tags': {'$add': ['x'], '$remove': ['a']}})
        token = self.write(3, 'PATCH', '/pages?id=eq.page', {'views': {'$inc': 10}, 'best': 9}, **{'Idempotency-Key': 'once'}).headers['Caucus-Session']
        self.remove_three()
        self.write(1, 'PATCH', '/presence?id=eq.both%20fields', {'place': 'of one'})
        self.write(1, 'PATCH', '/presence?id=eq.later%20elsewhere', {'status': 'of one'})
        self.write(2, 'DELETE', '/presence?id=eq.deleted%20elsewhere')
        self.write(2, 'DELETE', '/presence?id=eq.upserted')
        self.write(2, 'PATCH', '/pages?id=eq.page', {'views': {'$inc': 1}, 'tags': {'$add': ['y']}, 'best': 7})
        self.forget()
        self.take_back()
        self.wait_for_new_life()
        # Killed in the new life, before it has begun to write again and perhaps after.
        self.cluster.start(3)
        wait_until(lambda: (self.cluster.status(3) or {}).get('renewal', {}).get('waiting') == 9, 60, 'all of it to be written again')
        self.cluster.kill_postgres(3)
        self.cluster.kill_proxy(3)
        self.cluster.start(3)
        renewal = self.wait_renewed()
        # On a busy machine all of it may have been in the log when it was killed.
        self.assertIn((renewal['renewed'], renewal['lost']), ((7, 2), (0, 0)))
        self.cluster.wait_ready()
        self.cluster.verify()
        for replica in self.cluster.ids:
            rows = self.rows(replica, '/presence?select=id,status,place')
            self.assertEqual({name: (row['status'], row['place']) for name, row in rows.items()}, {
                'updated': ('of three', 'old'), 'both fields': ('of three', 'of one'), 'later elsewhere': ('of one', 'old'),
                'new': ('of three', None), 'upserted': ('of three', None), 'untouched': ('old', 'old')})
            self.assertEqual(self.cluster.get(replica, '/pages'), [{'id': 'page', 'views': 13, 'tags': ['b', 'x', 'y'], 'best': 9}])
        # What that session has seen has other numbers now: it is told so, instead of being asked to wait.
        answer = self.cluster.request(1, 'GET', '/pages', headers={'Caucus-Session': token})
        self.assertEqual((answer.status, answer.json()['code']), (412, 'CC218'), answer)
        # The same increment sent again, wherever: it was counted.
        self.write(1, 'PATCH', '/pages?id=eq.page', {'views': {'$inc': 10}, 'best': 9}, **{'Idempotency-Key': 'once'})
        self.assertEqual(self.cluster.get(1, '/pages?select=views'), [{'views': 13}])
        self.check_history()
        self.check_log()

    def check_history(self):
        """Every replica tells it the same way."""
        for replica in self.cluster.ids:
            conflicts = self.cluster.get(replica, '/_caucus/conflicts?table=presence')['conflicts']
            lost = {(entry['key']['id'], entry['column'], entry['new']) for entry in conflicts if entry['superseded_by']['reason'] == 'not_renewed'}
            self.assertEqual(lost, {('later elsewhere', 'status', 'of three'), ('deleted elsewhere', 'status', 'of three')})
            history = self.cluster.get(replica, '/_caucus/history?table=presence&key=updated')
            entry = history['entries'][0]
            self.assertTrue(history['visible'])
            self.assertEqual((entry['new'], entry['current'], entry['replica']), ('of three', True, 3))
            self.assertLess(entry['renews']['time'], entry['time'])
            self.assertNotEqual(entry['renews']['origin'], entry['origin'])

    def check_log(self):
        for event in ('event=must_rejoin', 'event=begin_anew', 'event=log_put_aside'):
            wait_until(lambda e=event: self.cluster.has_logged(3, e), 20, event)


if __name__ == '__main__':
    unittest.main(verbosity=2)
