#!/usr/bin/env python3
"""Several writes in one request, and writes on condition: all or none, once, at any replica."""
import threading
import unittest

from cases import OneCluster

REPRESENTATION = {'Prefer': 'return=representation'}


class Transactions(OneCluster):
    def transact(self, replica, operations, status=200, headers=None):
        answer = self.cluster.request(replica, 'POST', '/_caucus/transaction', {'operations': operations}, headers)
        self.assertEqual(answer.status, status, answer)
        return answer.json()

    def new_account(self, owner):
        return self.cluster.request(1, 'POST', '/accounts', {'owner': owner, 'balance': 5}, REPRESENTATION).json()[0]

    def test_plain_and_captured_writes_of_one_table_keep_their_order(self):
        account = self.new_account('order')
        total = self.cluster.get(1, '/totals?name=eq.transfers')[0]['n']
        answers = self.transact(2, [
            {'method': 'PATCH', 'path': '/totals?name=eq.transfers', 'body': {'n': 1000}},
            {'method': 'POST', 'path': '/transfers', 'body': {'account': account['id'], 'tag': 'tx', 'amount': 1}},
            {'method': 'PATCH', 'path': '/totals?name=eq.transfers&select=n', 'headers': REPRESENTATION, 'body': {'n': total + 1}},
        ])
        self.assertEqual([answer['status'] for answer in answers], [204, 201, 200])
        self.assertEqual(answers[2]['body'], [{'n': total + 1}])
        for reader in self.cluster.ids:
            self.assertEqual(self.cluster.get(reader, '/totals?name=eq.transfers')[0]['n'], total + 1)
            self.assertEqual(len(self.cluster.get(reader, '/transfers?tag=eq.tx')), 1)
        self.cluster.verify()

    def test_one_failure_undoes_all(self):
        problem = self.transact(3, [
            {'method': 'POST', 'path': '/notes', 'body': {'id': 'undone', 'n': 1}},
            {'method': 'POST', 'path': '/notes', 'body': {'id': 'undone', 'n': 2}},
        ], status=409)
        self.assertEqual(problem['code'], '23505')
        self.assertEqual(self.cluster.get(1, '/notes?id=eq.undone'), [])

    def test_the_same_key_at_another_replica_gives_the_stored_answers(self):
        operations = [{'method': 'POST', 'path': '/accounts?select=id', 'headers': REPRESENTATION, 'body': {'owner': f'k{n}'}} for n in range(2)]
        first = self.transact(1, operations, headers={'Idempotency-Key': 'once'})
        second = self.transact(3, operations, headers={'Idempotency-Key': 'once'})
        self.assertEqual(first, second)
        self.assertEqual(len(self.cluster.get(2, '/accounts?owner=like.k*')), 2)
        self.transact(2, operations[:1], 422, {'Idempotency-Key': 'once'})

    def test_reads_and_mixtures_of_classes_are_refused(self):
        self.assertEqual(self.transact(1, [{'method': 'GET', 'path': '/notes'}], 400)['code'], 'PGRST102')
        weak = next(table['name'] for table in self.cluster.get(1, '/_caucus/tables') if table['consistency'] == 'weak')
        problem = self.transact(1, [{'method': 'POST', 'path': '/notes', 'body': {'id': 'mixed'}},
                                    {'method': 'DELETE', 'path': f'/{weak}?id=eq.00000000-0000-0000-0000-000000000000'}], 400)
        self.assertIn('not both', problem['details'])
        self.assertEqual(self.cluster.get(2, '/notes?id=eq.mixed'), [])

    def test_of_two_writers_with_the_same_tag_one_wins(self):
        account = self.new_account('tag')
        path = f'/accounts?id=eq.{account["id"]}'
        tags = {self.cluster.request(reader, 'GET', path).headers['ETag'] for reader in self.cluster.ids}
        self.assertEqual(len(tags), 1, tags)
        for _ in range(5):
            tag = self.cluster.request(1, 'GET', path).headers['ETag']
            statuses = []
            balance = self.cluster.get(1, path)[0]['balance']

            def write(replica):
                answer = self.cluster.request(replica, 'PATCH', path, {'balance': balance + replica}, {'If-Match': tag})
                statuses.append(answer.status)

            writers = [threading.Thread(target=write, args=(replica,)) for replica in self.cluster.ids]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            self.assertEqual(sorted(statuses), [204] + [412] * (len(writers) - 1))
        self.cluster.verify()

    def test_pages_of_other_origins_may_read_tokens_and_tags(self):
        answer = self.cluster.request(1, 'GET', '/notes', None, {'Origin': 'https://page.example'})
        self.assertEqual(answer.headers['Access-Control-Allow-Origin'], '*')
        self.assertIn('Caucus-Session', answer.headers['Access-Control-Expose-Headers'])
        answer = self.cluster.request(1, 'OPTIONS', '/notes', None, {'Origin': 'https://page.example', 'Access-Control-Request-Method': 'PATCH'})
        self.assertEqual(answer.status, 200)
        self.assertIn('PATCH', answer.headers['Access-Control-Allow-Methods'])
        answer = self.cluster.request(1, 'GET', '/_caucus/status', None, {'Origin': 'https://page.example'})
        self.assertNotIn('Access-Control-Allow-Origin', answer.headers)
        answer = self.cluster.request(1, 'POST', '/_caucus/migrations?name=page', 'CREATE TABLE of_a_page (id integer PRIMARY KEY)',
                                      {'Origin': 'https://page.example', 'Content-Type': 'text/plain'})
        self.assertEqual((answer.status, answer.json()['code']), (403, 'CC231'))


if __name__ == '__main__':
    unittest.main()
