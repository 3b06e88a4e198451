#!/usr/bin/env python3
"""Every route with each kind of token: none, of each role, forged in each way. The operators' routes are those of the source's own table, so
that a new one cannot be left out; a replica refuses to start where everybody could do everything; and the function that is called before
each request, and settings of roles and functions, do what they say.

usage: test_tokens.py [SOURCE_ROOT]
"""
import http.client
import json
import os
import re
import subprocess
import sys
import time
import unittest

from conformance_cluster import HERE, SECRET, ConformanceCluster, base64url, token

sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))
from cluster import CAUCUS, command, free_base  # noqa: E402

SOURCE_ROOT = os.path.join(HERE, '..', '..')
AUDIENCE = 'bicycles'


def of(role, secret=SECRET, **claims):
    return token(role, secret, **{'aud': AUDIENCE, **claims})


def with_header(header, of_token):
    """The token's claims and signature under another header."""
    return base64url(json.dumps(header).encode()) + '.' + of_token.split('.', 1)[1]


def signed_as(algorithm, role):
    """Claims under an algorithm's name, "signed" with the public key as an HMAC secret, as the classic confusion does."""
    with open(os.path.join(HERE, 'test_keys.json'), encoding='utf-8') as file:
        key = next(key for key in json.load(file)['keys'] if key['alg'] == algorithm)
    public = json.dumps({name: value for name, value in key.items() if name in ('kty', 'crv', 'x', 'y', 'n', 'e')})
    return with_header({'alg': 'HS256', 'typ': 'JWT', 'kid': key['kid']}, of(role, public))


OPERATOR = of('caucus_operator')
FORGED = {
    'wrong signature': of('caucus_operator', SECRET[::-1]),
    'no signature': OPERATOR.rsplit('.', 1)[0] + '.',
    'alg none': with_header({'alg': 'none', 'typ': 'JWT'}, OPERATOR).rsplit('.', 1)[0] + '.',
    'alg none, in other letters': with_header({'alg': 'nOnE'}, OPERATOR),
    'another algorithm': with_header({'alg': 'HS384', 'typ': 'JWT'}, OPERATOR),
    'crit': with_header({'alg': 'HS256', 'crit': ['exp']}, OPERATOR),
    'public key as secret, RS256': signed_as('RS256', 'caucus_operator'),
    'public key as secret, ES256': signed_as('ES256', 'caucus_operator'),
    'expired': of('caucus_operator', exp=int(time.time()) - 3600),
    'not yet valid': of('caucus_operator', nbf=int(time.time()) + 3600),
    'another audience': of('caucus_operator', aud='somebody else'),
    'no audience': of('caucus_operator', aud=None),
    'no expiry': of('caucus_operator', exp=None),
    'not a token': 'caucus_operator',
    'empty': '',
}
ROLES = {'h1_anon': of('h1_anon'), 'h1_member': of('h1_member'), 'nobody_knows': of('nobody_knows'), 'postgres': of('postgres'), 'operator': OPERATOR}

# method, path, body
ROWS = [('GET', '/shops', None), ('HEAD', '/shops', None), ('POST', '/shops', '{}'), ('PATCH', '/shops?id=eq.-1', '{"name":"x"}'),
        ('PUT', '/shops?id=eq.-1', '{"id":-1,"name":"x"}'), ('DELETE', '/shops?id=eq.-1', None), ('GET', '/rpc/whoami', None), ('POST', '/rpc/whoami', '{}'),
        ('GET', '/', None), ('GET', '/nothing', None)]


def operator_routes():
    with open(os.path.join(SOURCE_ROOT, 'src', 'proxy', 'gateway', 'io_gateway_operator.c'), encoding='utf-8') as file:
        found = re.findall(r'\{"(GET|POST|PUT|PATCH|DELETE)", "([^"]+)", \w+, (ACCESS_\w+)\}', file.read())
    assert len(found) > 10, found
    return [(method, '/_caucus/' + name, access) for method, name, access in found]


class OneReplica(ConformanceCluster):
    n_replicas = 1
    auth = {**ConformanceCluster.auth, 'jwt_audience': AUDIENCE, 'require_expiry': True}
    rest = {**ConformanceCluster.rest, 'pre_request': 'internal.door', 'app_settings': {'place': 'Oslo'}}


class Routes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = OneReplica()
        cls.cluster.__enter__()
        assert cls.cluster.migrate(os.path.join(HERE, 'pre_request.sql'))

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def ask(self, method, path, body=None, bearer=None):
        """Status and error code. Streams are not read to their end."""
        connection = http.client.HTTPConnection('127.0.0.1', self.cluster.port(1), timeout=30)
        try:
            headers = {'Content-Type': 'application/json'} if body is not None else {}
            if bearer is not None:
                headers['Authorization'] = 'Bearer ' + bearer
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read() if answer.status >= 400 else b''
            return answer.status, json.loads(text).get('code') if text else None
        finally:
            connection.close()

    def test_a_forged_token_opens_nothing_that_asks_for_one(self):
        routes = ROWS + [(method, path, '{}' if method == 'POST' else None) for method, path, access in operator_routes() if access != 'ACCESS_OPEN']
        for name, bearer in FORGED.items():
            for method, path, body in routes:
                with self.subTest(f'{method} {path}', token=name):
                    status, code = self.ask(method, path, body, bearer)
                    self.assertEqual(status, 401, code)
                    self.assertIn(code, (None,) if method == 'HEAD' else ('PGRST301', 'PGRST303'))

    def test_who_may_use_single_columns_of_a_weak_table_uses_these(self):
        member = ROLES['h1_member']
        self.assertEqual(self.ask('POST', '/pinned', '{"id": "a", "note": "x"}', member), (201, None))
        self.assertEqual(self.ask('PATCH', '/pinned?id=eq.a', '{"note": "y"}', member), (204, None))
        self.assertEqual(self.ask('GET', '/pinned?select=id,note', None, member), (200, None))
        for method, path, body in (('GET', '/pinned', None), ('GET', '/pinned?select=_caucus', None), ('POST', '/pinned', '{"id": "b", "hidden": "x"}'),
                                   ('PATCH', '/pinned?id=eq.a', '{"hidden": "x"}'), ('PATCH', '/pinned?id=eq.a', '{"_caucus": {}}'), ('DELETE', '/pinned?id=eq.a', None)):
            with self.subTest(f'{method} {path}'):
                self.assertIn(self.ask(method, path, body, member), [(403, '42501'), (400, '42703'), (400, 'PGRST204')])

    def test_open_routes_do_not_look_at_tokens_and_tell_nothing(self):
        routes = [(method, path) for method, path, access in operator_routes() if access == 'ACCESS_OPEN']
        self.assertEqual(sorted(routes), [('GET', '/_caucus/live'), ('GET', '/_caucus/ready')])
        for bearer in (None, *FORGED.values(), *ROLES.values()):
            for method, path in routes:
                self.assertEqual(self.ask(method, path, None, bearer)[0], 200)
        self.assertEqual(self.cluster.request(1, 'GET', '/_caucus/ready').json(), {'ready': True, 'reason': None})

    def test_operators_routes_are_for_operators(self):
        for method, path, access in operator_routes():
            if access != 'ACCESS_OPERATOR':
                continue
            body = '{}' if method == 'POST' else None
            with self.subTest(f'{method} {path}'):
                self.assertEqual(self.ask(method, path, body), (401, 'CC230'))
                for role, bearer in ROLES.items():
                    if role == 'operator':
                        self.assertNotIn(self.ask(method, path, body, bearer)[0], (401, 403))
                    else:
                        self.assertEqual(self.ask(method, path, body, bearer), (403, 'CC230'), role)

    def test_what_is_no_route_is_for_operators_too(self):
        for path in ('/_caucus/', '/_caucus/nothing', '/_caucus/live/x', '/_caucus/status/', '/_caucus/../shops', '/_caucus/STATUS'):
            self.assertEqual(self.ask('GET', path), (401, 'CC230'), path)
            self.assertIn(self.ask('GET', path, None, OPERATOR)[0], (404, 405), path)

    def test_rows_are_for_roles_that_exist_and_have_the_right(self):
        for method, path, body in ROWS:
            with self.subTest(f'{method} {path}'):
                for bearer in (None, ROLES['h1_anon'], ROLES['h1_member']):
                    status, code = self.ask(method, path, body, bearer)
                    self.assertNotIn(status, (401, 403, 500), code)
                if path in ('/', '/nothing'):
                    continue  # needs no database
                self.assertEqual(self.ask(method, path, body, ROLES['postgres'])[0], 403)
                self.assertEqual(self.ask(method, path, body, ROLES['nobody_knows'])[0], 401)

    def test_clients_routes_take_every_good_token(self):
        for method, path, access in operator_routes():
            if access == 'ACCESS_CLIENT':
                body = '{"operations":[]}' if method == 'POST' else None
                for bearer in (None, ROLES['h1_member'], OPERATOR):
                    self.assertNotIn(self.ask(method, path, body, bearer)[0], (401, 403, 500), path)

    def test_who_may_read_the_secret_makes_tokens_and_needs_none(self):
        config = ['--config', self.cluster.config]
        made = command('token', *config, '--role', 'h1_member', '--claims', '{"sub": "ann"}')
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(self.ask('GET', '/shops', None, made.stdout.strip()), (200, None))
        self.assertEqual(self.ask('GET', '/_caucus/status', None, made.stdout.strip()), (403, 'CC230'))
        self.assertEqual(self.ask('GET', '/_caucus/status', None, command('token', *config).stdout.strip()), (200, None))
        self.assertEqual(command('token', *config, '--claims', '[]').returncode, 78)
        self.assertEqual(command('token', *config, '--role', 'x', '--claims', '{"role": "another"}').returncode, 78)
        shown = command('status', *config)
        self.assertEqual(shown.returncode, 0, shown.stdout)
        self.assertIn('leader', shown.stdout)
        shown = command('status', '--url', self.cluster.urls()[0])
        self.assertEqual(shown.returncode, 69, shown.stdout)
        self.assertIn('CC230', shown.stderr)

    def rows(self, method, path, body=None, said=None, role=None, **headers):
        """The answer; headers as x_say='...'. Checks what the function before the request has said."""
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        if role is not None:
            headers['Authorization'] = 'Bearer ' + ROLES[role]
        answer = self.cluster.request(1, method, path, body, headers)
        self.assertEqual(answer.headers.get('X-Said'), said, f'{method} {path}')
        return answer

    def test_the_function_before_a_request_can_refuse_it(self):
        for method, path, body in ROWS[:-1]:
            self.assertEqual(self.rows(method, path, body and json.loads(body), x_closed='1').status, 423, f'{method} {path}')
        self.assertEqual(self.rows('GET', '/shops', x_closed='1').json(), {'code': 'PT423', 'message': 'closed', 'details': None, 'hint': 'come back'})

    def test_the_function_before_a_request_says_something_about_its_answer_alone(self):
        writes = [('POST', '/presence', {'id': 'a', 'n': 1}), ('PATCH', '/presence?id=eq.a', {'n': 2}), ('POST', '/visits', {'path': 'x'}),
                  ('PATCH', '/visits?path=eq.x', {'path': 'y'}), ('DELETE', '/visits?path=eq.y', None), ('POST', '/rpc/seen_by_writer', {})]
        for method, path, body in [('GET', '/shops', None), ('HEAD', '/shops', None), ('GET', '/rpc/seen', None), *writes]:
            self.assertEqual(self.rows(method, path, body, said='hi', x_say='hi', x_status='203').status, 203, f'{method} {path}')
            if body is None or 'id' not in body:
                self.assertNotIn(self.rows(method, path, body).status, (203, 500), f'{method} {path}')
        self.assertEqual(self.rows('POST', '/rpc/teapot_by_writer', {}, x_status='203').status, 418)
        self.assertEqual(self.rows('POST', '/rpc/seen_by_writer', {}).status, 200)

    def test_the_function_before_a_request_knows_it_and_is_part_of_it(self):
        self.assertEqual(self.rows('GET', '/rpc/seen').json(), 'GET /rpc/seen Oslo')
        self.assertEqual(self.rows('POST', '/rpc/seen_by_writer', {}).json(), 'POST /rpc/seen_by_writer Oslo')
        self.assertEqual(self.rows('POST', '/parts', {'sku': 'NEW', 'label': 'l'}, x_log='1', role='h1_member').status, 201)
        self.assertEqual(self.rows('POST', '/parts', {'sku': 'NEW', 'label': 'l'}, x_log='1').status, 409)
        self.assertEqual(self.rows('GET', '/visits?select=path,who').json(), [{'path': '/parts', 'who': 'h1_member'}])
        self.assertEqual(self.rows('GET', '/parts', x_log='1').json()['code'], '25006')
        self.assertEqual(self.rows('POST', '/presence', {'id': 'b'}, x_log='1').json()['code'], 'CC303')
        operations = [{'method': 'PATCH', 'path': '/parts?sku=eq.NEW', 'headers': {'X-Log': '1', 'X-Say': 'one'}, 'body': {'label': 'm'}},
                      {'method': 'DELETE', 'path': '/parts?sku=eq.NEW', 'headers': {}}]
        answers = self.rows('POST', '/_caucus/transaction', {'operations': operations}).json()
        self.assertEqual([answer['status'] for answer in answers], [204, 204])
        self.assertEqual([answer['headers'].get('X-Said') for answer in answers], ['one', None])
        self.assertEqual(len(self.rows('DELETE', '/visits?id=gt.0', Prefer='return=representation').json()), 2)

    def test_roles_have_their_settings_and_leave_nothing_behind(self):
        usual = '4MB UTC ISO, '
        for _ in range(2):
            self.assertEqual(self.rows('GET', '/rpc/have', role='h1_member').json(), '9MB Europe/Oslo German, DMY gold')
            self.assertEqual(self.rows('GET', '/rpc/have').json(), usual + 'MDY')
            self.assertEqual(self.rows('POST', '/rpc/have_by_writer', {}, role='h1_member').json(), '9MB Europe/Oslo ISO, YMD gold')
            self.assertEqual(self.rows('POST', '/rpc/have_by_writer', {}).json(), usual + 'YMD')
        self.assertEqual(self.rows('GET', '/rpc/have', role='h1_member', Prefer='timezone=Asia/Tokyo').json(), '9MB Asia/Tokyo German, DMY gold')

    def test_time_limits_of_roles_and_functions_end_a_statement(self):
        for method, body, name in (('GET', None, 'nap'), ('POST', {}, 'nap_by_writer')):
            self.assertEqual(self.rows(method, '/rpc/' + name, body, role='h1_member').json()['code'], '57014')
            self.assertEqual(self.rows(method, '/rpc/short_' + name, body).json()['code'], '57014')
            self.assertEqual(self.rows(method, '/rpc/' + name, body).json(), 'slept')


class Open(unittest.TestCase):
    def start(self, address, auth):
        """Exit code and log of a replica that is expected not to start."""
        cluster = OneReplica()
        try:
            with open(cluster.config, encoding='utf-8') as file:
                config = json.load(file)
            config['auth'] = auth
            config['replicas'][0]['http'] = f'{address}:{free_base(1) + 1}'
            with open(cluster.config, 'w', encoding='utf-8') as file:
                json.dump(config, file)
            done = subprocess.run([CAUCUS, 'serve', '--config', cluster.config, '--replica', '1'], capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, done.stderr
        finally:
            cluster.remove()

    def test_a_replica_refuses_to_start_open_to_the_world(self):
        for address in ('0.0.0.0', '192.0.2.1', '[::]'):
            code, log = self.start(address, {})
            self.assertEqual(code, 78, log)
            self.assertIn('auth.allow_open', log)

    def test_secrets_that_are_too_short_are_refused(self):
        code, log = self.start('127.0.0.1', {'jwt_secret': 'short'})
        self.assertEqual(code, 78, log)


if __name__ == '__main__':
    unittest.main(verbosity=2)
