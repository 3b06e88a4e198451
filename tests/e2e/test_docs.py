"""What README.md, docs/REST.md and docs/CLIENTS.md tell to type does what they say, with the demo shop, as printed: only ports and paths
are this test's own. Blocks that install or build are left out."""
import os
import re
import subprocess
import unittest

import cluster
from cases import OneCluster

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), '..', '..'))
INSTALLS = ('make', 'npm', 'meson', 'cc')  # first words of lines that are not tried

# A read that finds nothing shows nothing to the reader. Weak tables take a moment: it is tried again.
CURL = """
curl() {
    local answer tries=0
    while answer=$(command curl -sS --fail-with-body --max-time 60 "$@"); do
        if [ "$answer" != '[]' ]; then
            printf '%s\\n' "$answer"
            return 0
        fi
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { echo 'nothing was found'; return 1; }
        sleep 0.1
    done
    printf '%s\\n' "$answer"
    return 1
}
"""


def text_of(path):
    with open(os.path.join(TOP, path), encoding='utf-8') as file:
        return file.read()


def blocks(page, language):
    return re.findall(r'^```' + language + r'\n(.*?)^```', text_of(page), re.MULTILINE | re.DOTALL)


class Docs(OneCluster):
    SCHEMA = text_of('demo-api/schema.sql')

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.symlink(cls.cluster.data, os.path.join(cls.cluster.root, 'caucus-data'))

    def here(self, text):
        """With the ports and the program of this test."""
        text = text.replace('build/src/cli/caucus', os.path.realpath(cluster.CAUCUS))
        return re.sub(r'(localhost|127\.0\.0\.1):710(\d)', lambda match: f'{match[1]}:{self.cluster.port(int(match[2]))}', text)

    def run_shell(self, what, script):
        # -e and pipefail: the first command that fails ends it
        result = subprocess.run(['bash', '-euo', 'pipefail', '-c', script], cwd=self.cluster.root, capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(result.returncode, 0, f'{what}:\n{script}\n{result.stdout}{result.stderr}')

    def try_page(self, page):
        tried = 0
        for block in blocks(page, 'sh'):
            lines = [line for line in block.splitlines() if not line.startswith(INSTALLS)]
            if any(line.strip() and not line.startswith('#') for line in lines):
                self.run_shell(page, CURL + self.here('\n'.join(lines)))
                tried += 1
        self.assertGreater(tried, 0, page)

    def test_the_readme_can_be_followed_word_by_word(self):
        self.try_page('README.md')

    def test_the_examples_of_the_row_protocol_work_as_printed(self):
        self.try_page('docs/REST.md')

    def test_the_commands_for_clients_work_as_printed(self):
        self.try_page('docs/CLIENTS.md')

    def test_the_example_in_c_builds_and_writes_an_order(self):
        build = os.path.realpath(os.environ['CAUCUS_BUILD'])
        with open(os.path.join(self.cluster.root, 'orders.c'), 'w', encoding='utf-8') as file:
            file.write(self.here(blocks('docs/CLIENTS.md', 'c')[0]))
        command = next(line for block in blocks('docs/CLIENTS.md', 'sh') for line in block.splitlines() if line.startswith('cc '))
        self.run_shell('docs/CLIENTS.md', f'export PKG_CONFIG_PATH={build}/meson-uninstalled LD_LIBRARY_PATH={build}/src/client\n{command}')


if __name__ == '__main__':
    unittest.main(verbosity=2)
