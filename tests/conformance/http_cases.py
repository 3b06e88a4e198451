#!/usr/bin/env python3
"""Runs cases.json over HTTP against running replicas, one after the other in turn.

usage: http_cases.py URL... [--without TAG]... [--only NAME]

The replicas have schema.sql applied and nothing else done to it. Cases whose tag is left out (--without auth) and the
wanted differences of docs/REST.md are skipped. Each case goes to the next URL, and carries the session token of the one before.
"""
import http.client
import json
import os
import sys
import urllib.parse

WANTED_DIFFERENCES = {
    'delete-or-filter',  # a table without a primary key takes inserts only
}


def send(url, case, session):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    headers = dict(case['headers'])
    if session:
        headers['Caucus-Session'] = session
    body = case['body'].encode() if case['body'] is not None else None
    connection.request(case['method'], case['path'], body=body, headers=headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, response.headers, text


def problems(expected, status, headers, text):
    if status != expected['status']:
        yield f'status {status}, not {expected["status"]}'
    for name, value in expected.get('headers', {}).items():
        if headers.get(name) != value:
            yield f'{name}: {headers.get(name)}, not {value}'
    try:
        body = json.loads(text) if text else None
    except ValueError:
        body = None
    if expected.get('body') is not None and body != expected['body']:
        yield f'body {text[:300]!r}'
    if 'raw' in expected and text.decode() != expected['raw']:
        yield f'body {text[:300]!r}'
    for name, value in expected.get('body_subset', {}).items():
        if not isinstance(body, dict) or body.get(name) != value:
            yield f'body {text[:300]!r}'
    for part in expected.get('body_contains', []):
        if part not in text.decode():
            yield f'body without {part}'


def main():
    arguments = sys.argv[1:]
    urls, without, only = [], set(), None
    while arguments:
        word = arguments.pop(0)
        if word == '--without':
            without.add(arguments.pop(0))
        elif word == '--only':
            only = arguments.pop(0)
        else:
            urls.append(word)
    if not urls:
        print(__doc__, file=sys.stderr)
        return 64
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cases.json'), encoding='utf-8') as file:
        cases = json.load(file)
    passed, failed, skipped, session = 0, 0, 0, None
    for number, case in enumerate(cases):
        if case['name'] in WANTED_DIFFERENCES or without & set(case['tags']):
            skipped += 1
            continue
        status, headers, text = send(urls[number % len(urls)], case, session)
        session = headers.get('Caucus-Session', session)
        found = list(problems(case['expect'], status, headers, text))
        if found and (only is None or case['name'] == only):
            print(f'FAIL {case["name"]}: ' + '; '.join(found))
        passed += not found
        failed += bool(found)
    print(f'{passed} passed, {failed} failed, {skipped} skipped of {len(cases)}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
