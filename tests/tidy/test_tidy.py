#!/usr/bin/env python3
"""tidy.py finds what it is there to find: a small tree with one fault of each kind. usage: test_tidy.py CONFIG_DOCS"""
import os
import subprocess
import sys
import tempfile

TIDY = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'tidy.py')

FAULTS = {
    'src/crdt/layer.c': ('// A.\n#include "consensus/raft.h"\n', 'src/crdt must not include'),
    'src/base/uses_time.c': ('// A.\n#include <time.h>\n', '<time.h> is for the shell'),
    'src/proxy/node/node_event.c': ('// A.\n#include <event2/event.h>\n', '<event2/event.h> is for the shell'),
    'src/proxy/node/upwards.c': ('// A.\n#include "proxy/replica/replica.h"\n', 'src/proxy/node must not include'),
    'src/proxy/gateway/io_http.c': ('// A.\n#include <event2/http.h>\n', '<event2/http.h> is used elsewhere only'),
    'src/proxy/node/relative.c': ('// A.\n#include "node.h"\n', 'includes start at src'),
    'src/base/named.h': ('// A.\ntypedef struct a { int b; } a;\n', 'no typedef for structs'),
    'src/base/lonely.h': ('// A.\nsize_t n(void);\n', 'does not compile alone'),
    'src/base/silent.c': ('int x;\n', 'the first line says what the file is'),
    'src/base/later.c': ('// A.\n// TO' 'DO: more\n', 'finish it'),
    'src/clock/noise.c': ('// A.\nvoid f(void) { printf("x"); }\n', 'pure code returns facts'),
    'src/base/enums.c': ('// A.\nswitch (x) {\ncase COLOR_RED:\n    break;\ndefault:\n    break;\n}\n', 'has no default'),
    'src/proxy/replica/io_new.c': ('// A.\ncc_log(CC_LOG_INFO, "unheard_of", "x=%d", 1);\n', 'log event unheard_of is not in'),
    'src/proxy/replica/io_many.c': ('// A.\nmetric(out, "caucus_unknown", "gauge", "", 1);\n', 'metric caucus_unknown is not in'),
    'src/rest/codes.c': ('// A.\nerror("CC999");\n', 'error code CC999 is not in'),
    'docs/ARCHITECTURE.md': ('See /ho' 'me/ann/caucus.\n', 'names a path of one machine'),
    'docs/FAILURES.md': ('| A1 | x | y | `a_test_that_nobody_wrote` |\n', 'there is no test a_test_that_nobody_wrote'),
    'src/consensus/unnamed.c': ('// A. FAILURES A' '99.\n', 'class A99 is not in'),
    'src/base/mutant.h': ('// Bugs.\n    X(7, SAID_NOWHERE, "A1", "it is wrong")\n', 'bug 7 is not in'),
    'README.md': ('See [it](docs/NOWHERE.md).\n', 'there is no docs/NOWHERE.md'),
    'docs/REST.md': ('# REST\n[it](#rest), [that](#nowhere)\n', 'docs/REST.md has no heading #nowhere'),
    'config.json.example': ('{}', 'is refused'),
    'docs/CONFIG.md': ('<!-- generated: keys -->\n<!-- end of generated -->\n', 'run `make docs`'),
}


def main():
    with tempfile.TemporaryDirectory() as root:
        for path, (text, _) in FAULTS.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), 'w', encoding='utf-8') as file:
                file.write(text)
        result = subprocess.run([sys.executable, TIDY, root, sys.argv[1]], capture_output=True, text=True)
    missed = [path for path, (_, reason) in FAULTS.items()
              if not any(line.startswith(path + ':') and reason in line for line in result.stdout.splitlines())]
    for path in missed:
        print(f'not found: {path}: {FAULTS[path][1]}')
    if missed or result.returncode != 1:
        print(result.stdout, result.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
