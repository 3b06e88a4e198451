#!/usr/bin/env python3
"""Columns with merge types: what replicas that were cut off count, add and remove, and what it amounts to."""
import threading
import unittest

from cases import OneCutCluster
from cluster import command, wait_until
from test_repair import tamper

SCHEMA = """
CREATE TABLE pages (
    id text PRIMARY KEY, title text, views bigint NOT NULL DEFAULT 0, balance numeric(12,2), best integer, first_seen timestamptz,
    tags text[] NOT NULL DEFAULT '{}', last_word text, small smallint, weight numeric DEFAULT 0.5, touched integer NOT NULL DEFAULT 0);
COMMENT ON TABLE pages IS '@caucus weak';
COMMENT ON COLUMN pages.views IS '@caucus counter
How often it was shown.';
COMMENT ON COLUMN pages.balance IS '@caucus counter';
COMMENT ON COLUMN pages.small IS '@caucus counter';
COMMENT ON COLUMN pages.weight IS '@caucus counter';
COMMENT ON COLUMN pages.best IS '@caucus max';
COMMENT ON COLUMN pages.first_seen IS '@caucus min';
COMMENT ON COLUMN pages.last_word IS '@caucus max';
COMMENT ON COLUMN pages.tags IS '@caucus set';
CREATE TABLE logged (id text PRIMARY KEY, views integer, changes integer NOT NULL DEFAULT 0);
COMMENT ON TABLE logged IS '@caucus weak';
COMMENT ON COLUMN logged.views IS '@caucus counter';
CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changes := NEW.changes + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER count_changes BEFORE UPDATE ON logged FOR EACH ROW EXECUTE FUNCTION count_changes();
CREATE TABLE ledgers (id text PRIMARY KEY, balance numeric NOT NULL DEFAULT 0, labels text[], document jsonb);
"""

REFUSED = {
    "a counter of text": "CREATE TABLE r (id text PRIMARY KEY, n text); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.n IS '@caucus counter';",
    "a key column": "CREATE TABLE r (id bigint PRIMARY KEY, n int); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.id IS '@caucus counter';",
    "a strong table": "CREATE TABLE r (id text PRIMARY KEY, n int); COMMENT ON COLUMN r.n IS '@caucus counter';",
    "no such type": "CREATE TABLE r (id text PRIMARY KEY, n int); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.n IS '@caucus sum';",
    "a set of no array": "CREATE TABLE r (id text PRIMARY KEY, n int); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.n IS '@caucus set';",
    "a check constraint": "CREATE TABLE r (id text PRIMARY KEY, n int CHECK (n >= 0)); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.n IS '@caucus counter';",
    "a default with elements": "CREATE TABLE r (id text PRIMARY KEY, n int[] DEFAULT '{1}'); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.n IS '@caucus set';",
    "max without a beginning": "CREATE TABLE r (id text PRIMARY KEY, n int NOT NULL); COMMENT ON TABLE r IS '@caucus weak'; COMMENT ON COLUMN r.n IS '@caucus max';",
    "a column called plus": 'CREATE TABLE r (id text PRIMARY KEY, "+" int); COMMENT ON TABLE r IS \'@caucus weak\';',
    "a column with a star": 'CREATE TABLE r (id text PRIMARY KEY, n int, "*n" int); COMMENT ON TABLE r IS \'@caucus weak\'; COMMENT ON COLUMN r.n IS \'@caucus counter\';',
    "another type under rows": "COMMENT ON COLUMN pages.views IS '@caucus max';",
    "another default under rows": "ALTER TABLE pages ALTER COLUMN touched SET DEFAULT 5;",
}


class MergeTypes(OneCutCluster):
    MIGRATION = SCHEMA

    def row(self, replica, key, table='pages'):
        return self.cluster.get(replica, f'/{table}?id=eq.{key}')[0]

    def cut_all(self):
        for replica in self.cluster.ids:
            self.cluster.cut(replica)

    def values(self, key, *columns, table='pages'):
        rows = [self.row(replica, key, table) for replica in self.cluster.ids]
        shown = [tuple(row[column] for column in columns) for row in rows]
        self.assertEqual(shown, [shown[0]] * len(shown))
        return shown[0]

    def test_increments_at_replicas_that_are_cut_from_each_other_add_up(self):
        self.write(1, 'POST', '/pages', {'id': 'sum', 'title': 'x', 'views': 5})
        self.wait_equal()
        self.cut_all()

        def count(replica):
            for i in range(40):
                self.write(replica, 'PATCH', '/pages?id=eq.sum', {'views': {'$inc': replica}, 'balance': {'$inc': '0.10'}},
                           Idempotency_Key=f'sum {replica} {i}' if i % 2 else f'other {replica} {i}')
        threads = [threading.Thread(target=count, args=(replica,)) for replica in self.cluster.ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.row(2, 'sum')['views'], 5 + 80)
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('sum', 'views', 'balance'), (5 + 40 * 6, 12.00))

    def test_a_value_counts_as_the_difference_to_what_its_writer_saw(self):
        self.write(1, 'POST', '/pages', {'id': 'plain', 'views': 10})
        self.wait_equal()
        self.cut_all()
        self.write(1, 'PATCH', '/pages?id=eq.plain', {'views': 17})
        self.write(2, 'PATCH', '/pages?id=eq.plain', {'views': 9, 'title': 't'})
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('plain', 'views', 'title'), (16, 't'))

    def test_a_sum_is_the_same_text_in_the_answer_and_at_every_replica(self):
        row = '/pages?id=eq.text&select=weight'
        self.write(1, 'POST', '/pages', {'id': 'text', 'weight': 3})
        self.wait_equal()
        for body, weight in (({'weight': 17}, b'17.0'), ({'weight': {'$inc': '1.25'}}, b'18.25'), ({'weight': 20}, b'20.00'), ({'weight': '20.000'}, b'20.000'),
                             ({'weight': None}, b'0.500'), ({'weight': {'$inc': 1}}, b'1.500')):
            answer = self.write(2, 'PATCH', row, body, Prefer='return=representation')
            self.assertEqual(answer.body, b'[{"weight":' + weight + b'}]')
            tag = self.cluster.request(2, 'GET', row).headers['ETag']
            self.wait_equal()
            for replica in self.cluster.ids:
                read = self.cluster.request(replica, 'GET', row)
                self.assertEqual((read.body, read.headers['ETag']), (answer.body, tag))

    def test_rows_that_nobody_had_before_add_up(self):
        self.cut_all()
        for replica in self.cluster.ids:
            for _ in range(3):
                self.write(replica, 'POST', '/pages', {'id': 'fresh', 'views': {'$inc': 1}, 'tags': {'$add': [f'r{replica}', 'all']}, 'best': replica * 10},
                           Prefer='resolution=merge-duplicates')
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('fresh', 'views', 'tags', 'best'), (9, ['all', 'r1', 'r2', 'r3'], 30))

    def test_the_same_key_at_two_replicas_counts_once(self):
        self.write(1, 'POST', '/pages', {'id': 'twins'})
        self.wait_equal()
        self.cut_all()
        for replica in (1, 3, 1):
            self.write(replica, 'PATCH', '/pages?id=eq.twins', {'views': {'$inc': 1}, 'tags': {'$add': ['x']}}, Idempotency_Key='twin')
        self.write(2, 'PATCH', '/pages?id=eq.twins', {'views': {'$inc': 5}}, Idempotency_Key='another')
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('twins', 'views', 'tags'), (6, ['x']))
        self.write(2, 'PATCH', '/pages?id=eq.twins', {'views': {'$inc': 1}, 'tags': {'$add': ['x']}}, Idempotency_Key='twin')
        self.wait_equal()
        self.assertEqual(self.values('twins', 'views'), (6,))

    def test_an_addition_to_a_set_wins_over_a_removal_that_did_not_see_it(self):
        self.write(1, 'POST', '/pages', {'id': 'set', 'tags': ['b', 'a', 'b']})
        self.wait_equal()
        self.assertEqual(self.values('set', 'tags'), (['a', 'b'],))
        self.cut_all()
        self.write(1, 'PATCH', '/pages?id=eq.set', {'tags': {'$remove': ['a', 'zzz'], '$add': ['c d']}})
        self.write(2, 'PATCH', '/pages?id=eq.set', {'tags': {'$add': ['e"f', 'NULL']}})
        self.write(3, 'PATCH', '/pages?id=eq.set', {'tags': ['a']})   # removes b
        self.write(3, 'PATCH', '/pages?id=eq.set', {'tags': []})      # and a
        self.write(3, 'PATCH', '/pages?id=eq.set', {'tags': ['a']})   # and adds it anew, which 1 has not seen
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('set', 'tags'), (['NULL', 'a', 'c d', 'e"f'],))

    def test_extremes_only_go_one_way(self):
        answer = self.write(1, 'POST', '/pages', {'id': 'ext', 'best': 5, 'first_seen': '2026-05-05T00:00:00Z'})
        self.wait_equal()
        self.cut_all()
        answer = self.write(1, 'PATCH', '/pages?id=eq.ext', {'best': 3, 'first_seen': '2026-06-06T00:00:00Z'}, Prefer='return=representation')
        self.assertEqual(answer.json()[0]['best'], 5)
        self.write(2, 'PATCH', '/pages?id=eq.ext', {'best': 9, 'last_word': 'B'})
        self.write(2, 'PATCH', '/pages?id=eq.ext', {'last_word': 'a'})  # after B by its bytes
        self.write(2, 'PATCH', '/pages?id=eq.ext&columns=best,title', {'title': 'x'}, Prefer='missing=default')
        self.write(3, 'POST', '/pages', {'id': 'ext', 'best': 7, 'first_seen': '2026-01-01T00:00:00Z'}, Prefer='resolution=merge-duplicates')
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('ext', 'best', 'first_seen', 'last_word'), (9, '2026-01-01T00:00:00+00:00', 'a'))

    def test_answers_show_what_the_row_shows_then(self):
        untidy = ['b', 'a', 'b', None]
        cases = (
            ('POST', '/pages', {'id': 'shown', 'tags': untidy, 'balance': None}),
            ('POST', '/pages', {'id': 'shown', 'tags': untidy + ['c'], 'balance': 2}),
            ('PATCH', '/pages?id=eq.shown', {'tags': untidy, 'balance': None}),
            ('PATCH', '/pages?id=eq.shown', {'tags': [], 'best': 7}),
            ('PATCH', '/pages?id=eq.shown', {'best': 3, 'balance': 1.5}),
            ('POST', '/pages', [{'id': 'shown', 'tags': untidy}, {'id': 'shown too', 'tags': untidy}]),
            ('PUT', '/pages?id=eq.shown', {'id': 'shown', 'title': 'x', 'views': 1, 'balance': None, 'best': 1, 'first_seen': None,
                                           'tags': untidy, 'last_word': None, 'small': None, 'touched': 0}),
        )
        for method, path, body in cases:
            answer = self.write(1, method, path, body, Prefer='return=representation,resolution=merge-duplicates').json()
            for row in answer:
                self.assertEqual(row, self.cluster.get(1, f"/pages?id=eq.{row['id'].replace(' ', '%20')}")[0], (method, body))

    def test_errors_do_not_show_stamps(self):
        self.write(1, 'POST', '/pages', {'id': 'refused'})
        answer = self.write(1, 'PATCH', '/pages?id=eq.refused', {'tags': None}, status=(400,))
        self.assertEqual((answer.json()['code'], answer.json()['details']), ('23502', None))

    def test_what_was_counted_goes_with_the_row(self):
        self.write(1, 'POST', '/pages', {'id': 'life', 'views': 7, 'tags': ['old']})
        self.wait_equal()
        self.cluster.cut(3)
        self.write(3, 'PATCH', '/pages?id=eq.life', {'views': {'$inc': 100}})
        self.write(1, 'DELETE', '/pages?id=eq.life')
        self.write(1, 'POST', '/pages', {'id': 'life', 'views': 1})
        self.write(1, 'PATCH', '/pages?id=eq.life', {'views': {'$inc': 1}})
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('life', 'views', 'tags'), (2, []))

    def test_what_was_counted_on_a_deleted_row_does_not_show_in_a_new_one(self):
        self.write(1, 'POST', '/pages', {'id': 'ghost', 'views': 7, 'tags': ['old']})
        self.wait_equal()
        self.cluster.cut(3)
        self.write(1, 'DELETE', '/pages?id=eq.ghost')
        self.write(3, 'PATCH', '/pages?id=eq.ghost', {'views': {'$inc': 100}, 'tags': {'$add': ['late']}})  # stays hidden in the tombstones
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.cluster.get(2, '/pages?id=eq.ghost'), [])
        answer = self.write(2, 'POST', '/pages', {'id': 'ghost', 'views': 1, 'tags': ['new']}, Prefer='return=representation')
        self.assertEqual(answer.json()[0]['views'], 1)
        self.wait_equal()
        self.assertEqual(self.values('ghost', 'views', 'tags'), (1, ['new']))
        self.write(3, 'PATCH', '/pages?id=eq.ghost', {'views': {'$inc': 1}})
        self.wait_equal()
        self.assertEqual(self.values('ghost', 'views'), (2,))

    def test_many_rows_several_steps_and_other_keys(self):
        rows = [{'id': f'many{i}', 'views': i, 'best': i, 'tags': ['b', f't{i}', 'a']} for i in range(20)]
        self.write(1, 'POST', '/pages', rows)
        self.wait_equal()
        self.cut_all()
        for replica in self.cluster.ids:  # a list of whole values counts differences, too
            self.write(replica, 'POST', '/pages', [{**row, 'views': row['views'] + replica, 'best': replica} for row in rows], Prefer='resolution=merge-duplicates')
        answer = self.write(1, 'POST', '/_caucus/transaction', {'operations': [
            {'method': 'PATCH', 'path': '/pages?id=eq.many7', 'body': {'views': {'$inc': 10}, 'tags': {'$add': ['x']}}},
            {'method': 'PATCH', 'path': '/pages?id=eq.many7', 'body': {'views': {'$inc': 20}, 'tags': {'$remove': ['x', 'a']}}}]}, Idempotency_Key='steps')
        self.assertEqual(answer.status, 200)
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('many3', 'views', 'best', 'tags'), (3 + 6, 3, ['a', 'b', 't3']))
        self.assertEqual(self.values('many7', 'views', 'best', 'tags'), (7 + 6 + 30, 7, ['b', 't7']))
        answer = self.write(2, 'PATCH', '/pages?id=eq.many3', {'id': 'moved', 'views': {'$inc': 1}}, Prefer='return=representation')
        self.assertEqual(answer.json()[0]['views'], 10)
        self.wait_equal()
        self.write(3, 'PATCH', '/pages?id=eq.moved', {'views': {'$inc': 1}})
        self.wait_equal()
        self.assertEqual(self.values('moved', 'views', 'best', 'tags'), (11, 3, ['a', 'b', 't3']))
        self.assertEqual(self.cluster.get(1, '/pages?id=eq.many3'), [])

    def test_histories_tell_what_was_counted_and_a_value_can_be_restored(self):
        self.write(1, 'POST', '/pages', {'id': 'told', 'views': 1})
        self.wait_equal()
        self.cut_all()
        for replica in (1, 2):
            self.write(replica, 'PATCH', '/pages?id=eq.told', {'views': {'$inc': replica}})
        self.cluster.heal()
        self.wait_equal()
        for replica in self.cluster.ids:
            entries = self.cluster.get(replica, '/_caucus/history?table=pages&key=told&column=views')['entries']
            self.assertEqual([(entry['old'], entry['new'], entry['current']) for entry in entries], [('1', '3', True), ('1', '2', True), (None, '1', True)])
            self.assertNotIn('told', str(self.cluster.get(replica, '/_caucus/conflicts?table=pages')))
        self.assertEqual(self.values('told', 'views'), (4,))
        self.write(3, 'POST', '/_caucus/history/restore', {'table': 'pages', 'key': 'told', 'stamp': entries[1]['stamp'], 'column': 'views'})
        self.wait_equal()
        self.assertEqual(self.values('told', 'views'), (2,))

    def test_a_row_deleted_and_inserted_in_one_request_is_there(self):
        self.write(1, 'POST', '/pages', {'id': 'swap', 'views': 7})
        self.wait_equal()
        self.write(2, 'POST', '/_caucus/transaction', {'operations': [
            {'method': 'DELETE', 'path': '/pages?id=eq.swap'}, {'method': 'POST', 'path': '/pages', 'body': {'id': 'swap', 'views': 2}}]})
        self.wait_equal()
        self.write(3, 'PATCH', '/pages?id=eq.swap', {'views': {'$inc': 1}, 'title': 'there'})
        self.wait_equal()
        self.assertEqual(self.values('swap', 'views', 'title'), (3, 'there'))

    def test_a_sum_stops_at_the_limit_of_its_type(self):
        self.write(1, 'POST', '/pages', {'id': 'limit', 'small': 0})
        self.wait_equal()
        self.cut_all()
        for replica in self.cluster.ids:
            self.write(replica, 'PATCH', '/pages?id=eq.limit', {'small': {'$inc': 30000}})
        answer = self.write(1, 'PATCH', '/pages?id=eq.limit', {'small': {'$inc': 30000}}, status=(400,))
        self.assertIn('22003', str(answer))
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('limit', 'small'), (32767,))

    def test_rows_with_triggers_and_batches_of_increments(self):
        self.write(1, 'POST', '/logged', [{'id': f'log{i}', 'views': i} for i in range(3)])
        self.wait_equal()

        def count(replica):
            for _ in range(20):
                self.write(replica, 'PATCH', '/logged?id=like.log*', {'views': {'$inc': 1}})
        threads = [threading.Thread(target=count, args=(replica,)) for replica in (1, 1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.wait_equal()
        for i in range(3):
            self.assertEqual(self.values(f'log{i}', 'views', table='logged'), (i + 80,))

    def test_what_was_counted_survives_crashes(self):
        self.write(1, 'POST', '/pages', {'id': 'crash', 'views': 1, 'tags': ['a']})
        self.wait_equal()
        self.cut_all()
        for replica in self.cluster.ids:
            for i in range(10):
                self.write(replica, 'PATCH', '/pages?id=eq.crash', {'views': {'$inc': 1}, 'tags': {'$add': [f'{replica}-{i}'], '$remove': ['a']}})
        self.cluster.kill_postgres(2)
        self.cluster.kill_proxy(3)
        self.cluster.start(3)
        self.cluster.heal()
        for replica in (2, 3):
            wait_until(lambda r=replica: self.cluster.is_ready(r), 60, 'the replica')
        self.wait_equal()
        views, tags = self.values('crash', 'views', 'tags')
        self.assertEqual(views, 31)
        self.assertEqual(tags, sorted(f'{replica}-{i}' for replica in self.cluster.ids for i in range(10)))
        self.cut_all()
        for replica in self.cluster.ids:
            self.write(replica, 'PATCH', '/pages?id=eq.crash', {'views': {'$inc': 1}, 'tags': []})
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.values('crash', 'views', 'tags'), (34, []))

    def test_values_that_were_changed_behind_the_back_are_made_right(self):
        self.write(1, 'POST', '/pages', {'id': 'tampered', 'views': 1, 'tags': ['a']})
        self.wait_equal()
        self.write(2, 'PATCH', '/pages?id=eq.tampered', {'views': {'$inc': 2}, 'tags': {'$add': ['b']}, 'best': 7})
        self.wait_equal()
        tamper(self.cluster, 2, "UPDATE pages SET views = 99, tags = '{q}', best = 3 WHERE id = 'tampered'")
        result = command('verify', '--config', self.cluster.config)
        self.assertEqual(result.returncode, 65, result.stdout)
        result = command('verify', '--repair', '--config', self.cluster.config)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.wait_equal()
        self.assertEqual(self.values('tampered', 'views', 'tags', 'best'), (3, ['a', 'b'], 7))

    def test_wrong_declarations_are_refused(self):
        self.write(1, 'POST', '/pages', {'id': 'there'}, Prefer='resolution=merge-duplicates')
        self.wait_equal()
        for name, sql in REFUSED.items():
            with self.subTest(name):
                answer = self.cluster.request(1, 'POST', '/_caucus/migrations?name=0003', sql, {'Content-Type': 'application/sql'})
                self.assertEqual(answer.status, 400, (name, answer))
                self.assertIn('CC307', str(answer))
        self.cluster.migrate('0003_lww', "COMMENT ON COLUMN pages.title IS '@caucus lww'")  # what it is without saying so

    def test_operators_of_strong_tables_and_wrong_ones(self):
        self.write(1, 'POST', '/ledgers', {'id': 'a', 'balance': {'$inc': '1.5'}, 'labels': ['z', 'y'], 'document': {'$inc': 1}})
        self.write(2, 'PATCH', '/ledgers?id=eq.a', {'balance': {'$inc': -1}, 'labels': {'$add': ['x', 'y'], '$remove': ['z']}})
        row = self.cluster.get(3, '/ledgers?id=eq.a')[0]
        self.assertEqual((row['balance'], row['labels'], row['document']), (0.5, ['y', 'x'], {'$inc': 1}))
        for body in ({'balance': {'$inc': True}}, {'balance': {'$inc': 1, '$add': []}}, {'balance': {'$add': ['x']}}, {'labels': {'$inc': 1}},
                     {'labels': {'$add': 'x'}}, {'balance': {'$mul': 2}}):
            answer = self.write(1, 'PATCH', '/ledgers?id=eq.a', body, status=(400,))
            self.assertIn('CC310', str(answer), body)
        answer = self.write(1, 'POST', '/ledgers', [{'id': 'b', 'balance': {'$inc': 1}}, {'id': 'c', 'balance': {'$inc': 1}}], status=(400,))
        self.assertIn('CC310', str(answer))


if __name__ == '__main__':
    unittest.main(verbosity=2)
