#!/usr/bin/env python3
"""Hostile requests against a real replica: raw bytes, sizes, JSON, names. What counts: one answer per request and none more,
no 5xx, no syntax error from PostgreSQL (it would mean that text of a request became SQL), and everything works afterwards."""
import json
import os
import socket
import sys
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))
from cluster import Cluster  # noqa: E402

SCHEMA = """
CREATE TABLE canary (id text PRIMARY KEY, n numeric, j jsonb, "a""b" text);
CREATE TABLE child (id integer PRIMARY KEY, canary_id text REFERENCES canary (id));
CREATE FUNCTION echo(word text DEFAULT '') RETURNS text LANGUAGE sql STABLE AS $$ SELECT word $$;
INSERT INTO canary (id, n) VALUES ('tweet', 1);
"""

HOST = b'Host: replica\r\n'
LAST = b'GET /_caucus/live HTTP/1.1\r\n' + HOST + b'Connection: close\r\n\r\n'  # answered only if the connection is still good
INNER = b'GET /canary?id=eq.smuggled HTTP/1.1\r\n' + HOST + b'\r\n'  # hidden where another server could see a request


def get(extra=b'', target=b'/canary', method=b'GET', version=b'HTTP/1.1', host=HOST):
    return method + b' ' + target + b' ' + version + b'\r\n' + host + extra + b'\r\n'


def post(headers, body=b'', target=b'/canary'):
    return b'POST ' + target + b' HTTP/1.1\r\n' + HOST + b'Content-Type: application/json\r\n' + headers + b'\r\n' + body


def chunks(text, headers=b''):
    return post(b'Transfer-Encoding: chunked\r\n' + headers, text)


# What must be refused with one answer, after which the connection is closed: nothing behind it is ever read as a request.
REFUSED = {
    'two lengths': post(b'Content-Length: 2\r\nContent-Length: 40\r\n', b'{}' + INNER),
    'the same length twice': post(b'Content-Length: 2\r\nContent-Length: 2\r\n', b'{}'),
    'a list of lengths': post(b'Content-Length: 2, 2\r\n', b'{}'),
    'length +2': post(b'Content-Length: +2\r\n', b'{}'),
    'length -1': post(b'Content-Length: -1\r\n', b'{}'),
    'length 0x2': post(b'Content-Length: 0x2\r\n', b'{}'),
    'length with a blank inside': post(b'Content-Length: 1 0\r\n', b'{}'),
    'length empty': post(b'Content-Length: \r\n', b'{}'),
    'length over 64 bits': post(b'Content-Length: 18446744073709551618\r\n', b'{}'),
    'length of 40 digits': post(b'Content-Length: ' + b'9' * 40 + b'\r\n', b'{}'),
    'length before the colon a blank': post(b'Content-Length : 5\r\n', INNER),
    'length and chunks': post(b'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n' + INNER),
    'chunks and length': post(b'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', b'0\r\n\r\n' + INNER),
    'two transfer encodings': post(b'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n' + INNER),
    'xchunked': post(b'Transfer-Encoding: xchunked\r\n', INNER),
    'chunked twice': post(b'Transfer-Encoding: chunked, chunked\r\n', b'0\r\n\r\n' + INNER),
    'gzip and chunked': post(b'Transfer-Encoding: gzip, chunked\r\n', b'0\r\n\r\n' + INNER),
    'chunked and identity': post(b'Transfer-Encoding: chunked, identity\r\n', b'0\r\n\r\n' + INNER),
    'identity': post(b'Transfer-Encoding: identity\r\n', INNER),
    'chunked with a tab in front': post(b'Transfer-Encoding:\tchunked\x0b\r\n', b'0\r\n\r\n' + INNER),
    'chunked in quotes': post(b'Transfer-Encoding: "chunked"\r\n', b'0\r\n\r\n' + INNER),
    'name with a blank': post(b'Transfer Encoding: chunked\r\n', b'0\r\n\r\n' + INNER),
    'name with an underscore sign and colon': post(b'Transfer-Encoding\x00: chunked\r\n', b'0\r\n\r\n' + INNER),
    'chunk size 0x5': chunks(b'0x5\r\nhello\r\n0\r\n\r\n' + INNER),
    'chunk size -1': chunks(b'-1\r\n\r\n0\r\n\r\n' + INNER),
    'chunk size +2': chunks(b'+2\r\n{}\r\n0\r\n\r\n' + INNER),
    'chunk size empty': chunks(b'\r\n{}\r\n0\r\n\r\n' + INNER),
    'chunk size with a blank in front': chunks(b' 2\r\n{}\r\n0\r\n\r\n' + INNER),
    'chunk size over 64 bits': chunks(b'10000000000000002\r\n{}\r\n0\r\n\r\n' + INNER),
    'chunk size over the limit': chunks(b'7fffffff\r\n{}'),
    'chunk longer than its size': chunks(b'2\r\n{}xx\r\n0\r\n\r\n' + INNER),
    'chunk with a bare line feed': chunks(b'2\n{}\n0\n\n' + INNER),
    'a line feed in a chunk extension': chunks(b'2;a\nb\r\n{}\r\n0\r\n\r\n' + INNER),
    'a chunk extension': chunks(b'A;a=b\r\n{"id":"b"}\r\n0\r\n\r\n'),
    'trailers': chunks(b'A\r\n{"id":"b"}\r\n0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n'),
    'a blank line in front': b'\r\n' + get(),
    'no host': get(host=b''),
    'two hosts': get(b'Host: other\r\n'),
    'folded header': get(b'X-A: b\r\n c\r\n'),
    'first header is folded': get(host=b' Host: replica\r\n'),
    'empty header name': get(b': value\r\n'),
    'header without a colon': get(b'nothing\r\n'),
    'NUL in a value': get(b'X-A: a\x00b\r\n'),
    'NUL in the target': get(target=b'/can\x00ary'),
    'encoded NUL in the path': get(target=b'/can%00ary'),
    'control byte in a value': get(b'X-A: a\x01b\r\n'),
    'bare carriage return in a value': get(b'X-A: a\rX-B: b\r\n'),
    'bare line feeds': b'GET /canary HTTP/1.1\nHost: replica\n\n',
    'lower case method': get(method=b'get'),
    'unknown method': get(method=b'BREW'),
    'TRACE': get(method=b'TRACE'),
    'CONNECT': get(method=b'CONNECT', target=b'replica:80'),
    'very long method': get(method=b'G' * 5000),
    'method with a NUL': get(method=b'GE\x00T'),
    'absolute target': get(target=b'http://replica/canary'),
    'authority as target': get(target=b'replica:80'),
    'target without a slash': get(target=b'canary'),
    'target with a fragment': get(target=b'/canary#a'),
    'target with a blank': get(target=b'/can ary'),
    'version 0.9': b'GET /canary\r\n',
    'version 2.0': get(version=b'HTTP/2.0'),
    'version 1.1 in lower case': get(version=b'http/1.1'),
    'version 1.11': get(version=b'HTTP/1.11'),
    'preface of HTTP/2': b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'a TLS hello': bytes.fromhex('16030100750100007103035300'),
    'target too long': get(target=b'/canary?id=eq.' + b'a' * 20000),
    'header too long': get(b'X-A: ' + b'a' * 20000 + b'\r\n'),
    'too many headers': get(b''.join(b'X-%d: a\r\n' % n for n in range(200))),
    'body too large': post(b'Content-Length: 17000000\r\n'),
    'an expectation that nobody meets': post(b'Expect: miracles\r\nContent-Length: 2\r\n', b'{}'),
}

# What is unusual but right: one answer each, and the connection goes on.
FINE = {
    'plain': (get(), [200]),
    'two at once': (get() + get(), [200, 200]),
    'a target in raw UTF-8': (get(target=b'/can\xc3\xa9'), [404]),
    'header names in any case': (b'GET /canary HTTP/1.1\r\nhOsT: replica\r\n\r\n', [200]),
    'value between blanks': (get(b'Accept: \t application/json \t\r\n'), [200]),
    'chunks': (chunks(b'9\r\n{"id":"a"\r\n1\r\n}\r\n0\r\n\r\n'), [201]),
    'a body that is not asked for': (b'GET /canary HTTP/1.1\r\n' + HOST + b'Content-Length: 2\r\n\r\n{}', [200]),
    'upgrade is not taken': (get(b'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'), [200]),
    'continue is said before the answer': (post(b'Expect: 100-continue\r\nContent-Length: 10\r\n', b'{"id":"c"}'), [201]),
    'a path of two segments': (get(target=b'/a/b'), [404]),
    'a method that is known, not here': (get(method=b'OPTIONS'), [200]),
    'dots in a path': (get(target=b'/../../etc/passwd'), [404]),
    'encoded slashes': (get(target=b'/..%2f..%2fetc%2fpasswd'), [404]),
    'forwarding headers change nothing': (get(b'X-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /_caucus/migrations\r\nX-HTTP-Method-Override: DELETE\r\n'), [200]),
}

BAD_JSON = {
    'nothing': b'',
    'a blank': b' ',
    'half an object': b'{"id":',
    'half a string': b'{"id":"a',
    'two values': b'{"id":"a"}{"id":"b"}',
    'a trailing comma': b'{"id":"a",}',
    'single quotes': b"{'id':'a'}",
    'a comment': b'{"id":"a"/**/}',
    'NaN': b'{"id":"a","n":NaN}',
    'Infinity': b'{"id":"a","n":-Infinity}',
    'a leading zero': b'{"id":"a","n":01}',
    'a hexadecimal number': b'{"id":"a","n":0x10}',
    'a plus sign': b'{"id":"a","n":+1}',
    'a point without digits': b'{"id":"a","n":1.}',
    'duplicate keys': b'{"id":"a","id":"b"}',
    'duplicate keys, spelled differently': b'{"id":"a","\\u0069d":"b"}',
    'duplicate keys inside': b'{"id":"a","j":{"x":1,"x":2}}',
    'a NUL': b'{"id":"a\\u0000b"}',
    'a raw NUL': b'{"id":"a\x00b"}',
    'a lone surrogate': b'{"id":"\\ud800"}',
    'surrogates the wrong way round': b'{"id":"\\udc00\\ud800"}',
    'a control character': b'{"id":"a\nb"}',
    'an unknown escape': b'{"id":"\\x41"}',
    'broken UTF-8': b'{"id":"\xff"}',
    'overlong UTF-8': b'{"id":"\xc0\xaf"}',
    'a byte order mark': b'\xef\xbb\xbf{"id":"a"}',
    'UTF-16': '{"id":"a"}'.encode('utf-16'),
    '65 levels': b'{"id":"a","j":' + b'[' * 65 + b']' * 65 + b'}',
    'a million levels': b'[' * 1000000,
    'a million objects': b'{"j":' * 1000000,
    'a scalar': b'7',
    'null': b'null',
    'rows that are no objects': b'[1,2]',
    'rows of different keys': b'[{"id":"x"},{"n":1}]',
    'an unknown column': b'{"id":"a","no\\"column":1}',
}

NAMES = [
    '";DROP TABLE canary;--', "';DROP TABLE canary;--", "' OR '1'='1", '1;SELECT pg_sleep(9)', '$1', '$$', '$tag$', '\\', '"', "'", '""', '--', '/*', '*/',
    'id"', 'id" = "id', 'a"b', 'canary"."id', 'caucus.meta', 'caucus', '_caucus', 'pg_authid', 'pg_catalog.pg_authid', 'xmin', 'ctid', 'tableoid', 'current_user',
    'c\u0430nary', 'İD', 'ﬁ', 'x' * 63, 'x' * 64, 'canary' + ' ' * 60, '\U0001f426', '\u202e', '\ufeffid', '\r\nX-Evil: 1', '\n', '\t', '\x7f', '%', '%s%n', '%00', '{}',
    '{', '(', ')', '((((((((((', ')(', ',', ',,,', '.', '...', ':', '::', '::text;--', '!', '*', '->', '->>', "->>'", 'not', 'and', 'or', 'null', 'true', 'select', '[',
]

PLACES = {
    'the path': lambda name: ('GET', '/' + name, {}, None),
    'a function': lambda name: ('POST', '/rpc/' + name, {}, '{}'),
    'select': lambda name: ('GET', '/canary?select=' + name, {}, None),
    'an alias': lambda name: ('GET', '/canary?select=' + name + ':id', {}, None),
    'a cast': lambda name: ('GET', '/canary?select=id::' + name, {}, None),
    'a JSON path': lambda name: ('GET', '/canary?select=j->' + name, {}, None),
    'an embedded relation': lambda name: ('GET', '/canary?select=' + name + '(id)', {}, None),
    'a hint': lambda name: ('GET', '/child?select=canary!' + name + '(id)', {}, None),
    'a filtered column': lambda name: ('GET', '/canary?' + name + '=eq.1', {}, None),
    'an operator': lambda name: ('GET', '/canary?id=' + name + '.1', {}, None),
    'a value': lambda name: ('GET', '/canary?id=eq.' + name, {}, None),
    'a list': lambda name: ('GET', '/canary?id=in.(' + name + ')', {}, None),
    'a quantifier': lambda name: ('GET', '/canary?id=eq(any).' + name, {}, None),
    'a pattern': lambda name: ('GET', '/canary?id=match.' + name, {}, None),
    'a language': lambda name: ('GET', '/canary?id=fts(' + name + ').a', {}, None),
    'a logic tree': lambda name: ('GET', '/canary?or=(' + name + ')', {}, None),
    'an order': lambda name: ('GET', '/canary?order=' + name, {}, None),
    'a limit': lambda name: ('GET', '/canary?limit=' + name, {}, None),
    'columns': lambda name: ('POST', '/canary?columns=' + name, {}, '[{"id":"n"}]'),
    'on_conflict': lambda name: ('POST', '/canary?on_conflict=' + name, {'Prefer': 'resolution=merge-duplicates'}, '{"id":"tweet","n":1}'),
    'a key of a body': lambda name: ('POST', '/canary', {}, json.dumps({name: 1})),
    'a value of a body': lambda name: ('PATCH', '/canary?id=eq.nobody', {}, json.dumps({'id': name, 'j': {name: name}})),
    'an argument': lambda name: ('GET', '/rpc/echo?' + name + '=1', {}, None),
    "an argument's value": lambda name: ('GET', '/rpc/echo?word=' + name, {}, None),
    'an argument of a body': lambda name: ('POST', '/rpc/echo', {}, json.dumps({name: 'x'})),
    'Accept': lambda name: ('GET', '/canary', {'Accept': name}, None),
    'Accept-Profile': lambda name: ('GET', '/canary', {'Accept-Profile': name}, None),
    'Content-Type': lambda name: ('POST', '/rpc/echo', {'Content-Type': name}, '{}'),
    'Prefer': lambda name: ('GET', '/canary', {'Prefer': name}, None),
    'a time zone': lambda name: ('GET', '/canary', {'Prefer': 'timezone=' + name}, None),
    'a read level': lambda name: ('GET', '/canary', {'Prefer': 'consistency=' + name}, None),
    'Range': lambda name: ('GET', '/canary', {'Range': name}, None),
    'Idempotency-Key': lambda name: ('PATCH', '/canary?id=eq.nobody', {'Idempotency-Key': name}, '{"n":1}'),
    'Caucus-Session': lambda name: ('GET', '/canary', {'Caucus-Session': name}, None),
    'If-Match': lambda name: ('GET', '/canary?id=eq.tweet', {'If-Match': name}, None),
    'Authorization': lambda name: ('GET', '/canary', {'Authorization': 'Bearer ' + name}, None),
    'an endpoint': lambda name: ('GET', '/_caucus/' + name, {}, None),
    'a digest': lambda name: ('GET', '/_caucus/digest?table=' + name, {}, None),
}

# Sent with the request line as it is where they stand for structure; everything else is encoded.
STRUCTURE = '/?=&()!:->,.'


def encode_target(text):
    path, mark, query = text.partition('?')
    encode = urllib.parse.quote
    return encode(path, safe='/') + mark + '&'.join(
        '='.join(encode(part, safe=STRUCTURE.replace('=', '').replace('&', '')) for part in pair.split('=', 1)) for pair in query.split('&'))


def read_answers(stream):
    """The answers until the server closes: (status, headers, body). Interim ones are left out."""
    answers = []
    while True:
        line = stream.readline()
        if not line:
            return answers
        status = int(line.split()[1])
        headers = {}
        while (line := stream.readline().rstrip(b'\r\n')):
            name, _, value = line.decode('latin-1').partition(':')
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get('content-length', 0))) if status >= 200 else b''
        if status >= 200:
            answers.append((status, headers, body))


class Hostile(unittest.TestCase):
    cluster = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(1)
        with open(cls.cluster.schema, 'w', encoding='utf-8') as file:
            file.write(SCHEMA)
        cls.cluster.start()
        cls.digest = cls.get_digest()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(*sys.exc_info())

    @classmethod
    def get_digest(cls):
        return [cls.cluster.get(1, f'/_caucus/digest?table={table}')['digest'] for table in ('canary', 'child')]

    def exchange(self, data):
        """Sends bytes on a connection of their own; all answers until the server closes it."""
        with socket.create_connection(('127.0.0.1', self.cluster.port(1)), timeout=30) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was refused before all of it was sent
            with sock.makefile('rb') as stream:
                try:
                    return read_answers(stream)
                except ConnectionResetError:
                    return []

    def test_what_breaks_the_framing_is_refused_once_and_the_connection_closed(self):
        for name, data in REFUSED.items():
            with self.subTest(name):
                answers = self.exchange(data + LAST)
                self.assertLessEqual(len(answers), 1, answers)
                if answers:  # bytes that are no HTTP at all may be left without an answer
                    self.assertTrue(400 <= answers[0][0] < 500 or answers[0][0] in (501, 505), answers)

    def test_what_is_unusual_but_right_is_answered_and_the_connection_goes_on(self):
        for name, (data, expected) in FINE.items():
            with self.subTest(name):
                statuses = [answer[0] for answer in self.exchange(data + LAST)]
                self.assertEqual(statuses, [*expected, 200])
        answer = self.cluster.request(1, 'DELETE', '/canary?id=in.(a,b,c)')
        self.assertEqual((answer.status, answer.body), (204, b''))

    def test_bodies_that_are_no_strict_json_change_nothing(self):
        for name, body in BAD_JSON.items():
            with self.subTest(name):
                answers = self.exchange(post(b'Content-Length: %d\r\n' % len(body), body) + LAST)
                self.assertEqual([answer[0] for answer in answers], [400, 200], answers)
        self.assertEqual(self.get_digest(), self.digest)

    def test_numbers_stay_exact(self):
        for number in ('9007199254740993', '0.1', '-0', '1e-30', '123456789012345678901234567890.123456789', '9' * 400):
            with self.subTest(number):
                answer = self.cluster.request(1, 'POST', '/canary?select=n::text', '{"id":"number","n":%s}' % number,
                                              {'Content-Type': 'application/json', 'Prefer': 'return=representation, tx=commit'})
                self.assertEqual(answer.status, 201, answer)
                value = answer.json()[0]['n']
                self.assertEqual(self.cluster.get(1, f'/canary?select=id&n=eq.{number}&id=eq.number'), [{'id': 'number'}], value)
                self.assertEqual(self.cluster.request(1, 'DELETE', '/canary?id=eq.number').status, 204)

    def test_100000_keys_with_one_hash_or_many_are_no_burden(self):
        body = '{"id":"keys","j":{' + ','.join(f'"{"a" * (n % 7)}{n}":{n}' for n in range(100000)) + '}}'
        answer = self.cluster.request(1, 'POST', '/canary', body, {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual(self.cluster.request(1, 'DELETE', '/canary?id=eq.keys').status, 204)

    def test_names_and_values_never_become_sql(self):
        n_answers = 0
        statuses = {}
        for place, make in PLACES.items():
            for name in NAMES:
                method, target, headers, body = make(name)
                data = method.encode() + b' ' + encode_target(target).encode() + b' HTTP/1.1\r\n' + HOST
                if body is not None:
                    headers = {'Content-Type': 'application/json', **headers}
                    data += b'Content-Length: %d\r\n' % len(body.encode())
                data += b''.join(key.encode() + b': ' + value.encode() + b'\r\n' for key, value in headers.items()) + b'\r\n' + (body or '').encode()
                with self.subTest(place, name=name):
                    answers = self.exchange(data + LAST)
                    n_answers += len(answers)
                    status, answered, text = answers[0]
                    statuses[status] = statuses.get(status, 0) + 1
                    self.assertIn(len(answers), (1, 2), answers)  # a header that is none closes the connection
                    self.assertLess(status, 500, answers[0])
                    self.assertNotIn(b'42601', text)
                    self.assertNotIn('x-evil', answered)
                    self.assertIn(answered.get('x-content-type-options', 'nosniff'), ('nosniff',))
        print(f'{n_answers} answers to {len(PLACES) * len(NAMES)} requests and their followers; statuses {dict(sorted(statuses.items()))}', flush=True)
        self.assertEqual(self.get_digest(), self.digest)

    def test_a_line_end_in_a_key_stays_inside_the_location(self):
        answer = self.cluster.request(1, 'POST', '/canary', {'id': 'a\r\nX-Evil: 1'}, {'Prefer': 'return=headers-only'})
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual(answer.headers['Location'], '/canary?id=eq.a%0D%0AX-Evil%3A%201')
        self.assertIsNone(answer.headers['X-Evil'])
        self.assertEqual(self.cluster.request(1, 'DELETE', answer.headers['Location']).status, 204)

    def test_z_everything_works_afterwards(self):
        self.assertEqual(self.cluster.get(1, '/canary'), [{'id': 'tweet', 'n': 1, 'j': None, 'a"b': None}])
        self.assertTrue(self.cluster.is_ready(1))


if __name__ == '__main__':
    unittest.main(verbosity=2)
