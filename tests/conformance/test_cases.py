#!/usr/bin/env python3
"""All cases of cases.json and more_cases.json against a cluster of three replicas, in order, each request at a replica chosen by chance.

usage: test_cases.py [CASE]...     only what these cases say is shown; all are run
"""
import json
import os
import random
import sys

from conformance_cluster import HERE, ConformanceCluster, seed
from http_cases import WANTED_DIFFERENCES, problems, send


def run(cluster, chance, file_name, names):
    with open(os.path.join(HERE, file_name), encoding='utf-8') as file:
        cases = [case for case in json.load(file) if 'rows_max' not in case]  # a setting that other cases do not want
    urls = cluster.urls()
    session = None
    count = {'passed': 0, 'failed': 0, 'wanted difference': 0}
    for case in cases:
        replica = chance.randrange(len(urls))
        status, headers, text = send(urls[replica], case, session)
        session = headers.get('Caucus-Session', session)
        found = list(problems(case['expect'], status, headers, text))
        outcome = 'wanted difference' if case['name'] in WANTED_DIFFERENCES else 'failed' if found else 'passed'
        count[outcome] += 1
        if outcome == 'failed' or case['name'] in names:
            print(f'{outcome}: {case["name"]} (tier {case["tier"]}, replica {replica + 1}): ' + '; '.join(found), flush=True)
    print(', '.join(f'{number} {outcome}' for outcome, number in count.items()) + f' of {len(cases)}', flush=True)
    return count['failed'] == 0 and count['passed'] > 0


def main():
    chance = random.Random(seed())
    with ConformanceCluster() as cluster:
        good = run(cluster, chance, 'cases.json', sys.argv[1:])
        good = cluster.migrate(os.path.join(HERE, 'more_schema.sql')) and run(cluster, chance, 'more_cases.json', sys.argv[1:]) and good
        cluster.verify()
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
