#!/usr/bin/env python3
"""Checks of the source tree that a compiler does not make. Prints every finding as file:line: text; exit 1 if there is one.

usage: tidy.py [--write] ROOT CONFIG_DOCS [CC]
  ROOT         the source tree
  CONFIG_DOCS  the built program tests/tidy/config_docs
  CC           the compiler for the test that every header compiles alone
  --write      write the generated part of docs/CONFIG.md instead of comparing it
"""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# Which modules a module may include, besides itself.
LAYERS = {
    'base': set(),
    'clock': {'base'},
    'crdt': {'base', 'clock'},
    'consensus': {'base', 'clock'},
    'rest': {'base'},
    'proxy': {'base', 'clock', 'crdt', 'consensus', 'rest'},
    'client': set(),
    'cli': {'base', 'clock', 'crdt', 'consensus', 'rest', 'proxy', 'client'},
}
# The same for the folders of src/proxy among each other.
PROXY_LAYERS = {
    'config': set(),
    'supervisor': {'config'},
    'node': {'config'},
    'faults': {'config', 'node'},
    'peer': {'config', 'faults', 'node'},
    'postgres': {'config', 'node'},
    'gateway': {'config', 'faults', 'node', 'postgres'},
    'replica': {'config', 'faults', 'gateway', 'node', 'peer', 'postgres', 'supervisor'},
}

# Headers that reach out of the process, know the time or start threads: for the shell only.
IO_HEADER = re.compile(
    r'^(event2/.*|evhttp\.h|libpq-fe\.h|libpq/.*|curl/.*|sys/.*|arpa/.*|net/.*|netdb\.h|netinet/.*|unistd\.h|fcntl\.h|poll\.h'
    r'|pthread\.h|threads\.h|time\.h|signal\.h|dirent\.h|termios\.h|pwd\.h|grp\.h|spawn\.h|linux/.*)$')
SHELL = re.compile(
    r'^src/(base/log\.c|rest/http_server\w*\.[ch]|proxy/\w+/io_\w+\.[ch]|proxy/supervisor/\w+\.[ch]|cli/.*|client/.*)$')
# Third parties are touched in few places (besides the shell's own).
THIRD_PARTIES = [
    (re.compile(r'^(event2/http.*|evhttp\.h)$'), re.compile(r'^src/rest/http_server\w*\.[ch]$')),
    (re.compile(r'^libpq'), re.compile(r'^src/(proxy/(postgres|supervisor)/\w+\.[ch]|cli/.*)$')),
    (re.compile(r'^sodium'), re.compile(r'^src/(proxy/\w+/(keys|handshake|channel|io_\w+)\.[ch]|cli/.*)$')),
    (re.compile(r'^curl/'), re.compile(r'^src/(client|cli)/.*$')),
    (re.compile(r'^openssl/'), re.compile(r'^src/rest/(jwt_keys|sha256)\.[ch]$')),
    (re.compile(r'^pg_query'), re.compile(r'^src/proxy/postgres/migration\w*\.[ch]$')),
]
PURE_MODULES = ('crdt', 'consensus', 'clock')

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
MACHINE_PATHS = re.compile(r'(?<![\w.])/(?:root|home|Users)/\w+')
SOURCE_DIRECTORIES = ('src', 'include', 'tests', 'bench', 'demo-api', 'docs', 'tools', '.ci')

findings = []


def find(path, line, text):
    findings.append((path, line, text))


def files(root, directories, endings):
    for directory in directories:
        for folder, _, names in os.walk(os.path.join(root, directory)):
            if 'node_modules' in folder or '__pycache__' in folder:
                continue
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
        return file.read()


def check_include(path, number, bracket, header):
    module = path.split('/')[1]
    if bracket == '"':
        other = header.split('/')[0]
        if header.startswith('caucus.h') or '/' not in header:
            if header != 'caucus.h':
                find(path, number, f'"{header}": includes start at src: "module/file.h"')
        elif other != module and other not in LAYERS.get(module, set()):
            find(path, number, f'src/{module} must not include "{header}"')
        elif other == module == 'proxy':
            folder, other_folder = path.split('/')[2], header.split('/')[1]
            if other_folder != folder and other_folder not in PROXY_LAYERS.get(folder, set()):
                find(path, number, f'src/proxy/{folder} must not include "{header}"')
        return
    if IO_HEADER.match(header) and not SHELL.match(path):
        find(path, number, f'<{header}> is for the shell (io_*, supervisor*, http_server, cli, client)')
    for pattern, allowed in THIRD_PARTIES:
        if pattern.match(header) and not allowed.match(path):
            find(path, number, f'<{header}> is used elsewhere only, see THIRD_PARTIES in tests/tidy/tidy.py')


def check_source(root, path):
    for number, line in enumerate(read(root, path).splitlines(), 1):
        include = INCLUDE.match(line)
        if include:
            check_include(path, number, *include.groups())
        if re.search(r'\btypedef\s+struct\b', line):
            find(path, number, 'no typedef for structs')
        if re.search(r'//\s*(TODO|FIXME|XXX)\b|/\*\s*(TODO|FIXME|XXX)\b', line):
            find(path, number, 'finish it, or say in docs why it waits')
        if path.split('/')[1] in PURE_MODULES and re.search(r'\b(cc_log|printf|getenv|rand|clock_gettime)\s*\(', line):
            find(path, number, 'pure code returns facts: no output, environment, chance or time')
    text = read(root, path)
    if not re.match(r'//|/\*', text):
        find(path, 1, 'the first line says what the file is')
    if path.endswith('.c') and re.search(r'^\s*default\s*:', text, re.M):
        check_enum_defaults(path, text)


def check_enum_defaults(path, text):
    """A switch that names enum constants (ours have an underscore, those of errno have none) lists them all, so that the compiler reports a forgotten one.
    One over a foreign byte has a default, which says so in a comment."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not re.match(r'\s*default\s*:', line) or '//' in ''.join(lines[number - 1:number + 1]):
            continue
        indent = len(line) - len(line.lstrip())
        for before in range(number - 2, -1, -1):
            if re.match(rf'\s{{{indent}}}case [A-Z][A-Z0-9]*_[A-Z0-9_]+\s*:', lines[before]):
                find(path, number, 'a switch over an enum has no default')
                break
            if re.match(rf'\s{{0,{indent}}}switch\b', lines[before]):
                break


def check_paths(root):
    for path in files(root, SOURCE_DIRECTORIES, ('.c', '.h', '.md', '.py', '.sh', '.build', '.json', '.sql', '.txt', '.js', 'run')):
        if path == 'tests/tidy/tidy.py':
            continue
        for number, line in enumerate(read(root, path).splitlines(), 1):
            if MACHINE_PATHS.search(line):
                find(path, number, f'names a path of one machine: {MACHINE_PATHS.search(line).group(0)}')


def check_headers_alone(root, compiler):
    headers = [path for path in files(root, ('src', 'include'), ('.h',))]
    packages = ['libevent', 'libpq', 'jansson', 'libsodium', 'libcurl']
    flags = subprocess.run(['pkg-config', '--cflags', *packages], capture_output=True, text=True).stdout.split()

    def compile_one(path):
        # Twice: a header that is included again must not define anything again.
        source = f'#include "{path}"\n#include "{path}"\n'
        command = [*compiler, '-std=c11', '-D_GNU_SOURCE', '-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-Wno-unused-function',
                   '-Wno-unused-const-variable', f'-I{root}', f'-I{root}/src', f'-I{root}/include', *flags, '-x', 'c', '-']
        result = subprocess.run(command, input=source, capture_output=True, text=True)
        return path, result

    with ThreadPoolExecutor(4) as pool:
        for path, result in pool.map(compile_one, headers):
            if result.returncode != 0:
                reason = next((line for line in result.stderr.splitlines() if 'error' in line), 'error')
                find(path, 1, f'does not compile alone: {reason}')


def generated(program, what):
    return subprocess.run([program, what], check=True, capture_output=True, text=True).stdout


TABLE_BEGIN = '<!-- generated: keys -->\n'
TABLE_END = '<!-- end of generated -->\n'


def check_config_docs(root, program, write):
    path = os.path.join(root, 'docs/CONFIG.md')
    doc = read(root, 'docs/CONFIG.md') if os.path.exists(path) else ''
    if TABLE_BEGIN not in doc or TABLE_END not in doc:
        find('docs/CONFIG.md', 1, f'needs the marks {TABLE_BEGIN.strip()} and {TABLE_END.strip()}')
        return
    head, rest = doc.split(TABLE_BEGIN, 1)
    _, tail = rest.split(TABLE_END, 1)
    wanted = head + TABLE_BEGIN + generated(program, 'table') + TABLE_END + tail
    if write:
        with open(path, 'w', encoding='utf-8') as file:
            file.write(wanted)
    elif doc != wanted:
        find('docs/CONFIG.md', 1, 'is not what src/proxy/config/config_keys.c says: run `make docs`')
    example = subprocess.run([program, 'check', os.path.join(root, 'config.json.example')], capture_output=True, text=True)
    if example.returncode != 0:
        find('config.json.example', 1, f'is refused: {example.stdout.strip()}')


def without_comments(text):
    return re.sub(r'//[^\n]*|/\*.*?\*/', lambda match: '\n' * match.group(0).count('\n'), text, flags=re.S)


def strings_in(root, pattern, directories=('src',), endings=('.c', '.h')):
    """All (text, path, line) whose first group the pattern finds in the sources."""
    for path in files(root, directories, endings):
        text = without_comments(read(root, path))
        for match in re.finditer(pattern, text):
            yield match.group(1), path, text.count('\n', 0, match.start(1)) + 1


def check_documented(root, found, document, what):
    full = os.path.join(root, document)
    words = set(re.findall(r'[A-Za-z0-9_]+', read(root, document))) if os.path.exists(full) else set()
    seen = set()
    for name, path, line in found:
        if name not in words and name not in seen:
            seen.add(name)
            find(path, line, f'{what} {name} is not in {document}')


def check_failures(root, document):
    """What docs/FAILURES.md names is there: tests, scenarios, planted bugs; and the classes that the sources name are in it."""
    text = read(root, document) if os.path.exists(os.path.join(root, document)) else ''
    there = set()
    for path in files(root, ('tests', 'bench'), ('',)):
        there.add(os.path.basename(path))
        if path.endswith(('.c', '.py')):
            there.update(re.findall(r'\b(?:void|def) (?:test_)?([a-z0-9_]+)\(', read(root, path)))
    mutants = 'src/base/mutant.h'
    bugs = set(re.findall(r'^    X\((\d+),', read(root, mutants), flags=re.M)) if os.path.exists(os.path.join(root, mutants)) else set()
    classes = set(re.findall(r'^\| ([A-Z]\d+) \|', text, flags=re.M))
    for number, line in enumerate(text.splitlines(), 1):
        revealed = line.rsplit('|', 2)[-2] if line.startswith('| ') and line.endswith('|') else ''
        for name in re.findall(r'`([a-z0-9_]{12,}|[a-z0-9_]+\.txt)`', revealed):
            if name not in there:
                find(document, number, f'there is no test {name}')
        for bug in re.findall(r'\d+', ''.join(re.findall(r'\bbugs? [\d, to]+', revealed))):
            if bug not in bugs:
                find(document, number, f'there is no planted bug {bug}')
    for path in files(root, ('src', 'tests'), ('.c', '.h')):
        for number, line in enumerate(read(root, path).splitlines(), 1):
            for name in re.findall(r'\b[A-Z]\d+\b', ''.join(re.findall(r'FAILURES ([A-Z]\d+(?:, [A-Z]\d+)*)', line))):
                if name not in classes:
                    find(path, number, f'class {name} is not in {document}')


def heading_anchors(text):
    """What a link into the document can name, as GitHub makes it of headings."""
    headings = re.findall(r'^#+ (.*)$', re.sub(r'^```.*?^```', '', text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def check_links(root):
    """Links between documents lead to a file and a heading that are there."""
    documents = [path for path in ('README.md', 'CHANGELOG.md') if os.path.exists(os.path.join(root, path))]
    for path in documents + list(files(root, ('docs', 'demo-api'), ('.md',))):
        for number, line in enumerate(read(root, path).splitlines(), 1):
            for target, anchor in re.findall(r'\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)', line):
                place = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
                if not os.path.exists(os.path.join(root, place)):
                    find(path, number, f'there is no {place}')
                elif anchor and anchor not in heading_anchors(read(root, place)):
                    find(path, number, f'{place} has no heading #{anchor}')


LOG_EVENT = r'(?:\bcc_log\s*\(\s*[^,;()]+|= \{CC_LOG_[A-Z]+),\s*"([a-z_0-9]+)"'
METRIC = r'(?:\bmetric\w*\s*\([^"()]*"|# TYPE )(caucus_[a-z0-9_]+)'
ERROR_CODE = r'"((?:PGRST|CC)(?:\d{3}|X\d\d))"'


def check_bugs(root, document):
    """The table of planted bugs is that of src/base/mutant.h: number, class and what is wrong."""
    mutants = 'src/base/mutant.h'
    if not os.path.exists(os.path.join(root, mutants)):
        return
    rows = read(root, document) if os.path.exists(os.path.join(root, document)) else ''
    for number, line in enumerate(read(root, mutants).splitlines(), 1):
        bug = re.match(r'    X\((\d+), \w+, "(\w+)", "([^"]*)"\)', line)
        if bug and not re.search(r'^\| %s \| %s \| %s' % (bug[1], bug[2], re.escape(bug[3])), rows, flags=re.M):
            find(mutants, number, f'bug {bug[1]} is not in {document} as it is here')


def main():
    arguments = sys.argv[1:]
    write = '--write' in arguments
    root, program, *compiler = [argument for argument in arguments if argument != '--write']
    check_config_docs(root, program, write)
    if not write:
        for path in files(root, ('src',), ('.c', '.h')):
            check_source(root, path)
        check_paths(root)
        check_headers_alone(root, compiler or ['cc'])
        check_failures(root, 'docs/FAILURES.md')
        check_bugs(root, 'docs/TESTING.md')
        check_links(root)
        check_documented(root, strings_in(root, LOG_EVENT), 'docs/OPERATING.md', 'log event')
        check_documented(root, strings_in(root, METRIC), 'docs/OPERATING.md', 'metric')
        check_documented(root, strings_in(root, ERROR_CODE), 'docs/ERRORS.md', 'error code')
    for path, line, text in findings:
        print(f'{path}:{line}: {text}')
    print(f'{len(findings)} findings')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
