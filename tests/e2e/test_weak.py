#!/usr/bin/env python3
"""Weak tables: what replicas that were cut off write, what becomes of it, and what histories tell about it."""
import os
import random
import subprocess
import threading
import time
import unittest
import uuid

from cases import OneCutCluster
from cluster import CAUCUS, together, wait_until

SCHEMA = """
CREATE TABLE notices (
    place uuid, day date, title text NOT NULL, details jsonb, tags text[], updated timestamptz,
    PRIMARY KEY (place, day));
COMMENT ON TABLE notices IS '@caucus weak';
CREATE TABLE labels (name text PRIMARY KEY);
COMMENT ON TABLE labels IS '@caucus weak';
CREATE FUNCTION set_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
CREATE DOMAIN short AS varchar(6) CHECK (VALUE <> '');
CREATE TABLE defaults (
    id text PRIMARY KEY, kept text, yes boolean NOT NULL DEFAULT true, no boolean DEFAULT false, padded char(6) NOT NULL DEFAULT 'ab',
    price numeric(8, 3) NOT NULL DEFAULT 1.5, ratio float8 DEFAULT 0.1, big bigint DEFAULT -7, at timestamptz NOT NULL DEFAULT '2026-01-02 03:04:05+06',
    local timestamp DEFAULT '2026-01-02', day date DEFAULT '2026-02-03', span interval DEFAULT '1 day 02:03', uid uuid DEFAULT 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
    raw bytea DEFAULT '\\x0aff', tags text[] DEFAULT '{a,"b, c"}', flags boolean[] DEFAULT '{t,f}', numbers int[] NOT NULL DEFAULT ARRAY[1, 2], feeling mood DEFAULT 'it''s ok',
    called short DEFAULT 'x''y', doc jsonb NOT NULL DEFAULT '{"b":1,  "a":[null]}', plain json DEFAULT '{"b":1,  "a":2}', net inet DEFAULT '10.0.0.1', bits bit(3) DEFAULT '101',
    money numeric DEFAULT 10.50, empty text NOT NULL DEFAULT '', nothing text DEFAULT NULL, range int4range DEFAULT '[1,4]', letter "char" DEFAULT 'c');
COMMENT ON TABLE defaults IS '@caucus weak';
CREATE TRIGGER set_updated BEFORE INSERT OR UPDATE ON notices FOR EACH ROW EXECUTE FUNCTION set_updated();
"""


class Weak(OneCutCluster):
    MIGRATION = SCHEMA

    def history(self, replica, query):
        return self.cluster.get(replica, '/_caucus/history?' + query)

    def pages(self, replica, path, name, limit):
        """All entries of a list that comes in pages."""
        found, following = [], ''
        while following is not None:
            page = self.cluster.get(replica, f'{path}&limit={limit}' + (following and '&next=' + following))
            self.assertLessEqual(len(page[name]), limit)
            self.assertEqual(page['truncated'], page['next'] is not None)
            found, following = found + page[name], page['next']
        return found

    def restore(self, replica, table, key, stamp, **more):
        return self.write(replica, 'POST', '/_caucus/history/restore', {'table': table, 'key': key, 'stamp': stamp, **more})

    def test_concurrent_writes_to_one_field_and_the_history_tells_who_lost(self):
        key = 'one field'
        self.write(1, 'POST', '/presence', {'id': key, 'status': 'new', 'place': 'home'})
        self.wait_equal()
        self.cluster.cut(3)
        self.write(3, 'PATCH', '/presence?id=eq.one%20field', {'status': 'early'}, Idempotency_Key='early 1')
        wait_until(lambda: self.cluster.get(3, '/presence?id=eq.one%20field')[0]['status'] == 'early', 5, 'the write')
        self.write(1, 'PATCH', '/presence?id=eq.one%20field', {'status': 'late'})
        self.write(3, 'PATCH', '/presence?id=eq.one%20field', {'place': 'work'})
        missing = {replica['id']: replica['weak_missing'] for replica in self.cluster.status(1)['replicas']}
        self.assertGreaterEqual(missing[3], 1)
        self.cluster.heal()
        self.wait_equal()
        wait_until(lambda: all(replica['weak_missing'] == 0 for replica in self.cluster.status(1)['replicas']), 10, 'nothing missing anywhere')
        row = self.cluster.get(2, '/presence?id=eq.one%20field')[0]
        self.assertEqual((row['status'], row['place']), ('late', 'work'))
        for replica in self.cluster.ids:
            history = self.history(replica, 'table=presence&key=one%20field&column=status')
            self.assertTrue(history['visible'])
            entries = history['entries']
            self.assertEqual([entry['new'] for entry in entries], ['late', 'early', 'new'])
            late, early, new = entries
            self.assertTrue(late['current'])
            self.assertEqual((late['old'], late['replica'], late['superseded_by']), ('new', 1, None))
            self.assertEqual((early['old'], early['replica'], early['request']), ('new', 3, 'early 1'))
            self.assertEqual(early['superseded_by']['reason'], 'concurrent_greater_stamp')
            self.assertEqual(early['superseded_by']['stamp'], late['stamp'])
            self.assertEqual(new['superseded_by']['reason'], 'overwritten')
            self.assertEqual((new['operation'], new['old']), ('insert', None))
        conflicts = self.cluster.get(1, '/_caucus/conflicts?table=presence&since=' + early['time'])['conflicts']
        self.assertIn(('status', 'early', {'id': key}), [(c['column'], c['new'], c['key']) for c in conflicts])
        self.assertNotIn(new['stamp'], [c['stamp'] for c in conflicts])
        whole = self.history(1, 'table=presence&key=one%20field')['entries']
        self.assertEqual(self.pages(1, '/_caucus/history?table=presence&key=one%20field', 'entries', 1), whole)
        self.assertEqual(self.pages(1, '/_caucus/history?table=presence&key=one%20field', 'entries', len(whole)), whole)
        self.assertEqual(self.pages(1, '/_caucus/history?table=presence&key=one%20field&column=status', 'entries', 2), entries)
        since = '/_caucus/conflicts?since='
        listed = self.pages(1, since + '1900-01-01', 'conflicts', 10000)
        self.assertEqual([entry for entry in listed if entry['stamp'] >= conflicts[-1]['stamp'] and entry['table'] == conflicts[-1]['table']], conflicts)
        self.assertEqual(self.pages(1, since + '1900-01-01', 'conflicts', 1), listed)
        self.assertEqual(self.pages(1, since + 'infinity', 'conflicts', 1), [])
        until = since + '1900-01-01&until='
        for limit in (1, 10000):
            upto = [entry for entry in listed if entry['time'] <= early['time']]
            self.assertEqual(self.pages(1, until + early['time'], 'conflicts', limit), upto)
            self.assertEqual(self.pages(1, until + '1950-01-01', 'conflicts', limit), [])
            self.assertEqual(self.pages(1, until + 'infinity', 'conflicts', limit), listed)

    def test_delete_against_update_and_the_row_is_restored(self):
        self.write(1, 'POST', '/presence', {'id': 'gone', 'status': 'here', 'place': 'home'})
        self.wait_equal()
        self.cluster.cut(3)
        self.write(1, 'DELETE', '/presence?id=eq.gone')
        self.write(3, 'PATCH', '/presence?id=eq.gone', {'status': 'changed'})
        self.cluster.heal()
        self.wait_equal()
        self.assertEqual(self.cluster.get(3, '/presence?id=eq.gone'), [])
        history = self.history(2, 'table=presence&key=gone')
        self.assertFalse(history['visible'])
        changed = next(entry for entry in history['entries'] if entry['new'] == 'changed')
        self.assertIn(changed['superseded_by']['reason'], ('row_deleted', 'concurrent_delete'))
        self.assertFalse(any(entry['current'] for entry in history['entries'] if entry['column']))
        here = next(entry for entry in history['entries'] if entry['new'] == 'here')
        answer = self.cluster.request(2, 'POST', '/_caucus/history/restore', {'table': 'presence', 'key': 'gone', 'stamp': changed['stamp'], 'column': 'status'})
        self.assertEqual(answer.status, 409, answer)
        answer = self.restore(2, 'presence', 'gone', changed['stamp'])  # as its writer had it, who had not heard of the deletion
        self.assertEqual((answer.json()[0]['status'], answer.json()[0]['place']), ('changed', 'home'))
        answer = self.restore(2, 'presence', 'gone', here['stamp'])
        self.assertEqual((answer.json()[0]['status'], answer.json()[0]['place']), ('here', 'home'))
        self.wait_equal()
        self.assertEqual(self.cluster.get(1, '/presence?id=eq.gone&select=id,status,place'), [{'id': 'gone', 'status': 'here', 'place': 'home'}])
        # Nothing was rewound: the restored values are writes of their own.
        self.assertEqual(self.history(3, 'table=presence&key=gone&column=status')['entries'][0]['new'], 'here')

    def test_a_value_of_any_type_is_written_again(self):
        place = str(uuid.uuid4())
        first = {'place': place, 'day': '2026-01-02', 'title': 'a "b"', 'details': {'x': [1, None]}, 'tags': ['p', 'q,r']}
        self.write(1, 'POST', '/notices', first)
        self.write(1, 'PATCH', f'/notices?place=eq.{place}', {'title': 'c', 'details': None, 'tags': []})
        # Keys are compared as PostgreSQL does.
        key = f'table=notices&key={place.upper()}&key=20260102'
        history = self.history(1, key)
        self.assertEqual(history['key'], {'place': place, 'day': '2026-01-02'})
        stamp = history['entries'][-1]['stamp']
        for column in ('title', 'details', 'tags'):
            self.write(1, 'POST', '/_caucus/history/restore', {'table': 'notices', 'key': [place, '2026-01-02'], 'stamp': stamp, 'column': column})
        row = self.cluster.get(1, f'/notices?place=eq.{place}&select=place,day,title,details,tags')[0]
        self.assertEqual(row, first)
        # Numbers of JSON stay as they are, however many digits they have.
        numbers = '[0.1, 1.10, 12345678901234567890]'
        self.write(1, 'PATCH', f'/notices?place=eq.{place}', f'{{"details": {numbers}}}', Content_Type='application/json')
        stamp = self.history(1, key + '&column=details')['entries'][0]['stamp']
        self.write(1, 'PATCH', f'/notices?place=eq.{place}', {'details': 0})
        answer = self.restore(1, 'notices', [place, '2026-01-02'], stamp)
        self.assertEqual(answer.json()[0]['title'], 'a "b"')
        self.assertEqual(self.cluster.get(1, f'/notices?place=eq.{place}&select=details::text')[0]['details'], numbers)
        # A row may have a key and nothing else.
        self.write(1, 'POST', '/labels', {'name': 'it\'s, "quoted"'})
        stamp = self.history(1, 'table=labels&key=it%27s,%20%22quoted%22')['entries'][0]['stamp']
        self.write(1, 'DELETE', '/labels?name=like.it*')
        answer = self.restore(1, 'labels', 'it\'s, "quoted"', stamp)
        self.assertEqual(answer.json(), [{'name': 'it\'s, "quoted"'}])
        self.wait_equal()

    def test_a_row_is_restored_at_once_after_a_column_of_it_is_gone(self):
        self.cluster.migrate('0003_shrinking', "CREATE TABLE shrinking (id text PRIMARY KEY, kept text, gone text); COMMENT ON TABLE shrinking IS '@caucus weak'")
        self.write(1, 'POST', '/shrinking', {'id': 'a', 'kept': 'x', 'gone': 'y'})
        stamp = self.history(1, 'table=shrinking&key=a')['entries'][0]['stamp']
        self.write(1, 'PATCH', '/shrinking?id=eq.a', {'kept': 'later'})
        self.wait_equal()
        over, found = threading.Event(), set()

        def restore(replica):
            while not over.is_set():
                answer = self.cluster.request(replica, 'POST', '/_caucus/history/restore', {'table': 'shrinking', 'key': 'a', 'stamp': stamp})
                found.add((answer.status, len(answer.json())))  # one row, or an error of four members
        restorers = [threading.Thread(target=restore, args=(replica,)) for replica in self.cluster.ids]
        for restorer in restorers:
            restorer.start()
        self.cluster.migrate('0004_shrunk', 'ALTER TABLE shrinking DROP COLUMN gone')
        over.set()
        for restorer in restorers:
            restorer.join()
        self.assertEqual(found, {(200, 1)})
        self.assertEqual(self.restore(1, 'shrinking', 'a', stamp).json(), [{'id': 'a', 'kept': 'x'}])

    def test_cleared_fields_of_any_type_hold_their_defaults_at_every_replica(self):
        row = '/defaults?id=eq.'
        self.write(1, 'POST', '/defaults', [{'id': key, 'kept': 'first'} for key in ('a', 'b', 'c')])
        fresh = self.cluster.get(1, row + 'a&select=*')[0]
        self.wait_equal()
        changed = {'yes': False, 'no': True, 'padded': 'zz', 'price': 2, 'at': '2027-01-01T00:00:00Z', 'raw': '\\x00', 'flags': [False], 'doc': {}, 'feeling': 'sad'}
        self.write(2, 'PATCH', '/defaults?id=in.(a,b,c)', changed)
        self.wait_equal()
        self.cluster.cut(3)
        self.write(1, 'DELETE', row + 'a')
        self.write(1, 'DELETE', row + 'b')
        self.write(3, 'POST', '/defaults?columns=id,kept', {'id': 'a', 'kept': 'second'}, Prefer='resolution=merge-duplicates')
        self.write(3, 'PATCH', row + 'b', {'kept': 'lost'})
        self.cluster.heal()
        self.wait_equal()
        self.write(2, 'POST', '/defaults?columns=id,kept', {'id': 'b', 'kept': 'second'}, Prefer='resolution=merge-duplicates')
        self.wait_equal()
        for replica in self.cluster.ids:
            for key in ('a', 'b'):
                self.assertEqual(self.cluster.get(replica, row + key + '&select=*'), [dict(fresh, id=key, kept='second')], f'at {replica}')
            kept, full = (self.cluster.get(replica, '/_caucus/digest?table=defaults' + query) for query in ('', '&full'))
            self.assertEqual((kept['rows'], kept['digest']), (full['rows'], full['digest']), f'at {replica}')

    def test_columns_that_triggers_change_are_stamped_too(self):
        place = str(uuid.uuid4())
        self.write(1, 'POST', '/notices', {'place': place, 'day': '2026-01-01', 'title': 'x'})
        self.wait_equal()
        self.cluster.cut(3)
        path = f'/notices?place=eq.{place}'
        self.write(3, 'PATCH', path, {'title': 'three'})
        self.write(1, 'PATCH', path, {'tags': ['one']})
        one = self.cluster.get(1, path)[0]
        self.cluster.heal()
        self.wait_equal()
        row = self.cluster.get(2, path)[0]
        self.assertEqual((row['title'], row['tags'], row['updated']), ('three', ['one'], one['updated']))
        entries = self.history(2, f'table=notices&key={place}&key=2026-01-01&column=updated')['entries']
        self.assertEqual([entry['replica'] for entry in entries], [1, 3, 1])
        self.assertEqual(entries[1]['superseded_by']['reason'], 'concurrent_greater_stamp')

    def test_one_request_is_seen_wholly_or_not_at_all(self):
        tag = 'crowd ' + str(uuid.uuid4())
        rows = [{'id': f'{tag} {i}', 'status': tag} for i in range(500)]
        self.write(1, 'POST', '/presence', rows)
        seen = set()

        def all_there():
            n = len(self.cluster.get(2, '/presence?select=id&status=eq.' + tag.replace(' ', '%20')))
            seen.add(n)
            return n == len(rows)

        wait_until(all_there, 10, 'the rows at replica 2')
        self.assertLessEqual(seen, {0, len(rows)})
        self.wait_equal()
        entry = self.history(2, 'table=presence&key=' + rows[7]['id'].replace(' ', '%20'))['entries'][0]
        other = self.history(3, 'table=presence&key=' + rows[400]['id'].replace(' ', '%20'))['entries'][0]
        self.assertEqual((entry['origin'], entry['sequence']), (other['origin'], other['sequence']))

    def test_a_write_that_was_answered_is_seen_there_without_a_token(self):
        missed = []

        def write_and_read(replica, writer):
            for i in range(15):
                name = f'seen {replica} {writer} {i}'
                self.write(replica, 'POST', '/labels', {'name': name})
                if not self.cluster.get(replica, '/labels?name=eq.' + name.replace(' ', '%20')):
                    missed.append(name)
        writers = [threading.Thread(target=write_and_read, args=(replica, writer)) for replica in self.cluster.ids for writer in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self.assertEqual(missed, [])
        self.write(1, 'POST', '/labels', {'name': 'seen by digests'})
        before = self.cluster.get(1, '/_caucus/digest?table=labels')['rows']
        self.write(1, 'POST', '/labels', {'name': 'seen by digests, too'})
        self.assertGreater(self.cluster.get(1, '/_caucus/digest?table=labels')['rows'], before)

    def test_the_same_key_at_another_replica_takes_effect_once(self):
        key = str(uuid.uuid4())
        body = {'id': key, 'status': 'once'}
        first = self.write(1, 'POST', '/presence', body, Idempotency_Key=key, Prefer='return=representation')
        self.wait_equal()
        again = self.write(3, 'POST', '/presence', body, Idempotency_Key=key, Prefer='return=representation')
        self.assertEqual(again.json(), first.json())
        self.assertEqual(len(self.history(3, f'table=presence&key={key}&column=status')['entries']), 1)
        other = self.cluster.request(2, 'POST', '/presence', {'id': key, 'status': 'other'}, {'Idempotency-Key': key})
        self.assertEqual(other.status, 422, other)

    def test_who_repeats_a_write_elsewhere_sees_it_everywhere_in_its_session(self):
        key = str(uuid.uuid4())
        row = f'/presence?id=eq.{key}&select=id'
        self.cluster.cut(2)
        self.write(1, 'POST', '/presence', {'id': key}, Idempotency_Key=key)  # suppose that this answer is lost
        wait_until(lambda: self.cluster.get(3, row), 20, 'the row at replica 3')
        session = {'Caucus-Session': self.write(3, 'POST', '/presence', {'id': key}, Idempotency_Key=key).headers['Caucus-Session']}
        with self.assertRaises(OSError):  # it waits for what it does not have
            self.cluster.request(2, 'GET', row, headers=session, timeout=1)
        self.cluster.heal()
        wait_until(lambda: self.cluster.request(2, 'GET', row, headers=session).status == 200, 60, 'a read in the session at replica 2')
        self.assertEqual(self.cluster.get(2, row, **session), [{'id': key}])

    def test_a_row_under_another_key_is_a_deletion_and_an_insert(self):
        self.write(1, 'POST', '/presence', {'id': 'before', 'status': 'x', 'place': 'home'})
        self.wait_equal()
        self.cluster.cut(3)
        answer = self.write(1, 'PATCH', '/presence?id=eq.before', {'id': 'after', 'status': 'y'}, Prefer='return=representation')
        self.assertEqual(answer.json()[0]['place'], 'home')
        self.write(3, 'PATCH', '/presence?id=eq.before', {'place': 'work'})  # of a row that goes away
        self.cluster.heal()
        self.wait_equal()
        rows = self.cluster.get(3, '/presence?id=in.(before,after)&select=id,status,place')
        self.assertEqual(rows, [{'id': 'after', 'status': 'y', 'place': 'home'}])
        before = self.history(2, 'table=presence&key=before')
        self.assertFalse(before['visible'])
        self.assertIn('delete', [entry['operation'] for entry in before['entries']])
        after = self.history(2, 'table=presence&key=after')['entries']
        self.assertEqual({entry['operation'] for entry in after}, {'insert'})
        # The old key can be used again, and the new one be given up.
        self.write(3, 'PATCH', '/presence?id=eq.after', {'id': 'before'})
        self.wait_equal()
        self.assertEqual([row['id'] for row in self.cluster.get(1, '/presence?id=in.(before,after)')], ['before'])

    def test_a_write_waits_for_the_durability_it_prefers_and_says_what_was_reached(self):
        for level in ('local', 'majority', 'all'):
            with self.subTest(level=level):
                answer = self.write(1, 'POST', '/presence', {'id': 'durable ' + level}, Prefer='durability=' + level)
                reached = answer.headers['Preference-Applied']
                self.assertIn(reached, {'local': ('durability=local', 'durability=majority', 'durability=all'),
                                        'majority': ('durability=majority', 'durability=all'), 'all': ('durability=all',)}[level])
        # Reached means: it is there after a crash, without the replica that took it.
        self.cluster.kill_proxy(1)
        for replica in (2, 3):
            self.cluster.kill_postgres(replica)
        try:
            for replica in (2, 3):
                def there(r=replica):
                    answer = self.cluster.request(r, 'GET', '/presence?id=eq.durable%20all', headers={'Prefer': 'consistency=local'})
                    return answer.status == 200 and len(answer.json()) == 1
                wait_until(there, 30, 'the row after the crash')
        finally:
            self.cluster.start(1)
            self.cluster.wait_ready()
        self.cluster.cut(3)
        answers = together(lambda: self.write(1, 'POST', '/presence', {'id': 'durable two'}, Prefer='durability=all'),
                           lambda: self.write(3, 'POST', '/presence', {'id': 'durable one'}, Prefer='durability=majority'))
        self.assertEqual([answer.headers['Preference-Applied'] for answer in answers], ['durability=majority', 'durability=local'])
        self.cluster.heal()
        self.wait_equal()
        answer = self.write(1, 'POST', '/notes', {'id': 'strong'}, Prefer='durability=all')
        self.assertEqual(answer.headers['Preference-Applied'], 'durability=majority')

    def test_a_linearizable_read_sees_what_a_majority_has_acknowledged(self):
        for i in range(20):
            key = f'majority {i}'
            self.write(1 + i % 3, 'POST', '/presence', {'id': key}, Prefer='durability=majority')
            self.cluster.get(1 + i % 3, '/notes?limit=1')
            for replica in self.cluster.ids:
                answer = self.cluster.request(replica, 'GET', f'/presence?id=eq.majority%20{i}', headers={'Prefer': 'consistency=linearizable'})
                self.assertEqual((answer.status, len(answer.json())), (200, 1), (i, replica))
                self.assertEqual(answer.headers['Preference-Applied'], 'consistency=linearizable')
        self.cluster.cut(3)
        for level in ('bounded=1h', 'bounded=1min'):  # what it has made sure of is not as old as that
            answer = self.cluster.request(3, 'GET', '/presence?id=eq.majority%2019', headers={'Prefer': 'consistency=' + level})
            self.assertEqual((answer.status, len(answer.json()), answer.headers['Preference-Applied'][:20]), (200, 1, 'consistency=bounded='), answer)
        answer = self.cluster.request(3, 'GET', '/notes?limit=1', headers={'Prefer': 'consistency=bounded=1h'})
        self.assertEqual(answer.status, 200, answer)

        def read_at(replica, level):
            return lambda: self.cluster.request(replica, 'GET', '/presence?limit=1', headers={'Prefer': 'consistency=' + level})

        answers = together(*[read_at(replica, level) for replica in (1, 3) for level in ('linearizable', 'bounded=1ms')])
        self.assertEqual([answer.status for answer in answers], [200, 200, 503, 503])
        self.assertEqual({answer.json()['code'] for answer in answers[2:]}, {'CC209'})
        answer = self.cluster.request(3, 'GET', '/presence?limit=1')
        self.assertEqual(answer.status, 200, answer)

    def test_a_replica_whose_clock_is_wrong_refuses_writes_and_its_early_stamps_wait(self):
        shim, told = os.environ.get('CAUCUS_CLOCK_SHIM', ''), os.path.join(self.cluster.root, 'clock')
        self.cluster.environment[3] = {'LD_PRELOAD': shim, 'CLOCK_SHIM': told}
        if subprocess.run([CAUCUS, '--help'], env={**os.environ, **self.cluster.environment[3]}, capture_output=True, check=False).stderr or not shim:
            self.cluster.environment.pop(3)
            self.skipTest('needs CAUCUS_CLOCK_SHIM, and a program that it can be preloaded into')

        def be_off(ms):
            with open(told + '.new', 'w', encoding='utf-8') as file:
                file.write(str(ms))
            os.rename(told + '.new', told)

        be_off(0)
        self.cluster.processes[3].terminate()
        self.cluster.processes[3].wait(60)
        try:
            self.cluster.start(3)
            self.cluster.wait_ready()
            be_off(-20000)
            wait_until(lambda: self.cluster.status(3)['clock_off'], 30, 'replica 3 to notice')
            self.assertGreater(self.cluster.status(3)['clock_offset_ms'], 15000)
            answer = self.cluster.request(3, 'POST', '/presence', {'id': 'too early'})
            self.assertEqual((answer.status, answer.json()['code']), (503, 'CC205'), answer)
            self.assertFalse(self.cluster.status(1)['clock_off'])
            self.write(1, 'POST', '/presence', {'id': 'in time'})
            be_off(0)
            wait_until(lambda: not self.cluster.status(3)['clock_off'], 30, 'replica 3 to be right again')
            self.write(3, 'POST', '/presence', {'id': 'in time again'})
            # Alone it cannot know. What it writes waits at the others until it is plausible, and their clocks do not follow.
            self.cluster.cut(3)
            be_off(6000)
            self.write_early()
            stamp = self.history(3, 'table=presence&key=from%20the%20future')['entries'][0]['stamp']
            written_ms = int(stamp.split('.')[0], 16) >> 16
            be_off(0)
            self.cluster.heal()

            def has_come():
                clock_ms = int(self.cluster.status(1)['clock'], 16) >> 16
                self.assertLess(clock_ms, 1000 * time.time() + 600)
                return self.cluster.get(1, '/presence?id=eq.from%20the%20future') != []
            wait_until(has_come, 60, 'the write')
            self.assertGreaterEqual(1000 * time.time(), written_ms - 600)
            self.wait_equal()
        finally:
            be_off(0)
            self.cluster.environment.pop(3)

    def write_early(self):
        """While replica 3 still thinks that it hears others it refuses."""
        def is_written():
            return self.cluster.request(3, 'POST', '/presence', {'id': 'from the future'}).status == 201
        wait_until(is_written, 30, 'the write at replica 3')

    def test_every_acknowledged_write_is_to_be_seen_or_told_by_the_history(self):
        keys = [f'told {i}' for i in range(6)]
        self.write(1, 'POST', '/presence', [{'id': key, 'status': 'start', 'place': 'start'} for key in keys])
        self.wait_equal()
        acknowledged, lock = [], threading.Lock()
        running = threading.Event()
        running.set()

        def writer(replica, seed):
            draw, n = random.Random(seed), 0
            while running.is_set():
                n += 1
                key, value = draw.choice(keys), f'{replica}-{seed}-{n}'
                column = draw.choice(('status', 'place'))
                if draw.random() < 0.1:
                    method, path, body = 'DELETE', '/presence?id=eq.' + key.replace(' ', '%20'), None
                elif draw.random() < 0.3:
                    method, path, body, column = 'POST', '/presence', {'id': key, 'status': value, 'place': value}, 'status'
                else:
                    method, path, body = 'PATCH', '/presence?id=eq.' + key.replace(' ', '%20'), {column: value}
                headers = {'Prefer': 'return=representation' + (',resolution=merge-duplicates' if method == 'POST' else '')}
                answer = self.cluster.request(replica, method, path, body, headers)
                if method != 'DELETE' and answer.status in (200, 201) and answer.json():
                    with lock:
                        acknowledged.append((key, column, value))

        writers = [threading.Thread(target=writer, args=(replica, seed)) for replica in self.cluster.ids for seed in (1, 2)]
        for thread in writers:
            thread.start()
        for one in (3, 1, 2):
            self.cluster.cut(one)
            want = len(acknowledged) + 40
            wait_until(lambda n=want: len(acknowledged) >= n, 60, 'writes while one is cut off')
            self.cluster.heal()
            want = len(acknowledged) + 20
            wait_until(lambda n=want: len(acknowledged) >= n, 60, 'writes while all are together')
        running.clear()
        for thread in writers:
            thread.join(60)
        self.wait_equal()
        n_lost = 0
        for key in keys:
            histories = [self.history(replica, f'table=presence&limit=10000&key={key.replace(" ", "%20")}') for replica in self.cluster.ids]
            self.assertEqual(histories[0], histories[1])
            self.assertEqual(histories[0], histories[2])
            entries = {(entry['column'], entry['new']): entry for entry in histories[0]['entries']}
            rows = self.cluster.get(2, f'/presence?id=eq.{key.replace(" ", "%20")}')
            self.assertEqual(bool(rows), histories[0]['visible'])
            for column, value in [(column, value) for k, column, value in acknowledged if k == key]:
                entry = entries[(column, value)]  # nothing acknowledged is missing
                shown = bool(rows) and rows[0][column] == value
                self.assertEqual(entry['current'], shown, (key, entry, rows))
                if not shown:
                    self.assertIsNotNone(entry['superseded_by'], entry)
                    n_lost += entry['superseded_by']['reason'] in ('concurrent_greater_stamp', 'concurrent_delete', 'row_deleted')
        self.assertGreater(n_lost, 0)  # else the replicas were never apart

    def test_what_cannot_be_answered_is_refused(self):
        cases = [
            ('GET', '/_caucus/history?table=nowhere&key=1', None, 404),
            ('GET', '/_caucus/history?table=notes&key=1', None, 400),
            ('GET', '/_caucus/history?table=presence', None, 400),
            ('GET', '/_caucus/history?table=notices&key=x&key=2026-01-01', None, 400),
            ('GET', '/_caucus/history?table=presence&key=1&limit=0', None, 400),
            ('GET', '/_caucus/history?table=presence&key=1&column=colour', None, 400),
            ('GET', '/_caucus/history?table=presence&key=1&next=there', None, 400),
            ('GET', '/_caucus/conflicts?since=sometime', None, 400),
            ('GET', '/_caucus/conflicts?until=sometime', None, 400),
            ('GET', '/_caucus/conflicts?next=019abc0000000000.1.77~-1', None, 400),
            ('POST', '/_caucus/history/restore', {'table': 'presence', 'key': 'x'}, 400),
            ('POST', '/_caucus/history/restore', {'table': 'presence', 'key': 'x', 'stamp': '0000000000000001.1.1'}, 404),
            ('POST', '/_caucus/history/restore', 'no json', 400),
        ]
        for method, path, body, status in cases:
            with self.subTest(method=method, path=path):
                answer = self.cluster.request(1, method, path, body, {'Content-Type': 'application/json'} if body else None)
                self.assertEqual(answer.status, status, answer)
                self.assertEqual(set(answer.json()), {'code', 'message', 'details', 'hint'})
        self.assertEqual(self.history(1, 'table=presence&key=never')['entries'], [])


if __name__ == '__main__':
    unittest.main(verbosity=2)
