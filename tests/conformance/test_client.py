#!/usr/bin/env python3
"""The published @supabase/postgrest-js (pinned in postgrest-js/package-lock.json) against a cluster of three replicas, and the types
that the cluster makes for it, checked by the TypeScript compiler.

usage: test_client.py WORK_DIRECTORY     keeps the npm packages there between runs
Exit 77 (skipped) when npm cannot reach its registry and the packages are not there yet.
"""
import json
import os
import shutil
import subprocess
import sys
import urllib.request

from conformance_cluster import HERE, SECRET, ConformanceCluster, base64url, seed, token

SOURCE = os.path.join(HERE, 'postgrest-js')
SKIPPED = 77
NODE_MAJOR_MIN = 18  # Debian 12's own


def install(directory):
    """npm's packages exactly as locked; nothing to do when they are there already."""
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(SOURCE):
        if name != 'node_modules':
            shutil.copy(os.path.join(SOURCE, name), directory)
    with open(os.path.join(SOURCE, 'package-lock.json'), encoding='utf-8') as file:
        locked = file.read()
    mark = os.path.join(directory, 'installed.json')
    if os.path.exists(mark) and open(mark, encoding='utf-8').read() == locked:
        return True
    result = subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], cwd=directory,
                            capture_output=True, text=True, timeout=300, check=False)
    if result.returncode != 0:
        print('npm ci failed:\n' + result.stdout + result.stderr, flush=True)
        return False
    with open(mark, 'w', encoding='utf-8') as file:
        file.write(locked)
    return True


def tokens():
    unsigned = base64url(b'{"alg":"none"}') + '.' + base64url(b'{"role":"h1_member","sub":"ann"}') + '.'
    return {'ann': token('h1_member', sub='ann'), 'bob': token('h1_member', sub='bob'), 'expired': token('h1_member', exp=1000000000),
            'forged': token('h1_member', secret=SECRET[::-1]), 'unsigned': unsigned, 'superuser': token('postgres'),
            'unknown_role': token('nobody_knows'), 'operator': token('caucus_operator')}


def run(words, directory, environment=None):
    print('== ' + ' '.join(words), flush=True)
    result = subprocess.run(words, cwd=directory, env={**os.environ, **(environment or {})}, timeout=300, check=False)
    return result.returncode == 0


def fetch_types(cluster, directory):
    for number, name in ((1, 'types.ts'), (2, 'types.js')):
        with urllib.request.urlopen(f'http://127.0.0.1:{cluster.port(number)}/_caucus/{name}', timeout=30) as answer:
            text = answer.read().decode()
        with open(os.path.join(directory, 'database.' + name), 'w', encoding='utf-8') as file:
            file.write(text)


def main():
    directory = os.path.abspath(sys.argv[1])
    if shutil.which('node') is None or shutil.which('npm') is None:
        print('node and npm are missing: tools/install-packages conformance')
        return SKIPPED
    version = subprocess.run(['node', '--version'], capture_output=True, text=True, check=False).stdout.strip()
    if int(version.lstrip('v').split('.')[0] or 0) < NODE_MAJOR_MIN:
        print(f'the client needs node {NODE_MAJOR_MIN} or later, this is {version}')
        return SKIPPED
    if not install(directory):
        return SKIPPED
    number = seed()
    with ConformanceCluster() as cluster:
        applied = cluster.migrate(os.path.join(SOURCE, 'schema.sql'))
        environment = {'CAUCUS_URLS': ' '.join(cluster.urls()), 'CAUCUS_TOKENS': json.dumps(tokens()), 'CAUCUS_SEED': str(number),
                       'CAUCUS_TEST_KEYS': os.path.join(HERE, 'test_keys.json')}
        good = applied and run(['node', '--test', 'client.test.mjs'], directory, environment)
        fetch_types(cluster, directory)
        good = run(['node_modules/.bin/tsc', '--project', 'tsconfig.json'], directory) and good
        cluster.verify()
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
