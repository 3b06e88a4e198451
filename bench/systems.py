"""The systems that are compared: how each is started, loaded, looked at and stopped.

A measurement is a dictionary: per_second, p50_ms, p99_ms, mean_ms, cpu_us {part: CPU microseconds per operation}, memory_mb,
http_cpu_us, log_bytes and disk_bytes per operation (None where they cannot be known).
"""
import glob
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import processes

ROWS = 10000  # that are there for updates and reads
VALUE_BYTES = 100
BULK_ROWS = 1000
VALUE = ''.join(random.Random(1).choices('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', k=VALUE_BYTES))


class Failure(Exception):
    pass


def free_ports(offsets):
    """A base such that base + each offset can be listened on."""
    for _ in range(200):
        base = random.randrange(10000, 30000)
        sockets = []
        try:
            for offset in offsets:
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(('127.0.0.1', base + offset))
            return base
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
    raise Failure('no free ports')


def wait_until(what, holds, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.05)
    raise Failure(f'{what}: not within {seconds} s')


def http_get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def metric_sum(text, name):
    """Sum of a Prometheus metric over its labels; None if there is no such metric."""
    values = [float(line.split()[-1]) for line in (text or '').splitlines()
              if line.startswith(name) and line[len(name)] in ' {']
    return sum(values) if values else None


class System:
    """Parts are the processes whose cost is told apart: {name: function giving their CPU time so far}."""

    def __init__(self, directory):
        self.directory = directory
        self.children = []

    # What a subclass says of itself.
    name = ''
    title = ''

    def start(self):
        raise NotImplementedError

    def can(self, case):
        raise NotImplementedError

    def parts(self):
        raise NotImplementedError

    def pids(self):
        return [pid for child in self.children for pid in processes.tree(child.pid)]

    def log_bytes(self):
        """Bytes written to the log that makes writes durable, at one member; None: unknown."""
        return None

    def http_cpu_us(self):
        """CPU time so far of the threads that serve HTTP, at all members; None: unknown."""
        return None

    def spawn(self, command, log, death='TERM', **more):
        """A child that gets a signal when this program dies, whatever the reason."""
        with open(os.path.join(self.directory, log), 'ab') as output:
            prefix = ['setpriv', '--pdeathsig', death] if death else []
            child = subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more)
        self.children.append(child)
        return child

    def stop(self, how=signal.SIGTERM):
        for child in self.children:
            if child.poll() is None:
                child.send_signal(how)
        for child in self.children:
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []

    # Measuring.

    def sample(self):
        cpu = {name: take() for name, take in self.parts().items()}
        return {'cpu_us': cpu, 'http_cpu_us': self.http_cpu_us(), 'log_bytes': self.log_bytes(),
                'disk_bytes': processes.device_bytes_written(self.directory)}

    @staticmethod
    def measurement(before, after, n_operations, memory, speed):
        cost = {name: (after['cpu_us'][name] - before['cpu_us'][name]) / n_operations for name in after['cpu_us']}
        grown = {key: None if before[key] is None or after[key] is None else (after[key] - before[key]) / n_operations
                 for key in ('http_cpu_us', 'log_bytes', 'disk_bytes')}
        return {**speed, 'cpu_us': cost, 'memory_mb': memory, **grown}

    def run_generator(self, command):
        """Our own generator: it says on stderr when the measured window begins and ends."""
        before = after = None
        memory = 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            said = []
            for line in child.stderr:
                if line.startswith('measuring begins'):
                    before = self.sample()
                elif line.startswith('measuring ends'):
                    after = self.sample()
                    memory = processes.memory_mb(self.pids())
                else:
                    said.append(line)
            result = child.stdout.read()
            code = child.wait()
        if code != 0 or before is None or after is None:
            raise Failure(f'{" ".join(command)}: exit {code}\n{"".join(said[-5:])}{result[-2000:]}')
        report = json.loads(result)
        latency = report['latency_ms']
        n_operations = max(1.0, report['operations_per_second'] * report['seconds'])
        cost = self.measurement(before, after, n_operations, memory, {
            'per_second': report['operations_per_second'], 'p50_ms': latency['p50'], 'p99_ms': latency['p99'],
            'mean_ms': latency['mean'], 'rows_per_second': report['rows_per_second']})
        cost['cpu_us']['load generator'] = report['client_cpu_us_per_operation']
        verification = report.get('verification')
        if verification:
            cost['settled_ms'] = verification['settled_ms']
        bad = {name: n for name, n in report['outcomes'].items() if name != 'done' and n > 0}
        if bad:
            cost['bad'] = bad
        return cost


class Caucus(System):
    name = 'caucus'
    title = 'Caucus, three replicas'

    MIXES = {'insert': ('insert', 'leader'), 'insert, spread': ('insert', 'all'), 'update': ('update', 'leader'),
             'read': ('read', 'all'), 'read, session': ('read@session', 'all'), 'weak insert': ('weak-insert', 'all'),
             'weak update': ('weak-update', 'all'), 'bulk insert': ('bulk', 'leader')}

    def __init__(self, directory, program, replicas=3, rows=ROWS):
        super().__init__(directory)
        self.program = program
        self.n_replicas = replicas
        self.rows = rows     # that updates and reads know at the start
        self.base = 0
        self.weak = False    # what is measured now
        self.proxies = {}    # replica: pid
        self.postgres = {}   # replica: pid of the postmaster

    def url(self, replica=1):
        return f'http://127.0.0.1:{self.base + replica}'

    def start(self):
        replicas = range(1, self.n_replicas + 1)
        self.base = free_ports([*replicas, *(100 + replica for replica in replicas)])
        up = self.spawn([self.program, 'up', '--dir', os.path.join(self.directory, 'data'), '--port', str(self.base),
                         '--replicas', str(self.n_replicas)], 'up.log')
        log = os.path.join(self.directory, 'up.log')

        def ready():
            if up.poll() is not None:
                raise Failure(f'caucus up ended:\n{open(log, encoding="utf-8").read()}')
            return any(line.strip() == 'ready' for line in open(log, encoding='utf-8'))
        wait_until('caucus up', ready, 120)
        self.find_processes(up.pid)
        self.check_settings()
        for mix in ('read', 'weak-update'):
            subprocess.run([self.program, 'bench', '--url', self.url(), '--duration', '0', '--mix', mix, '--rows', str(self.rows),
                            '--value-bytes', str(VALUE_BYTES)], check=True)

    def check_settings(self):
        """What is measured is what the fault tests run: `caucus up` with its own settings, durable on every replica."""
        data = os.path.join(self.directory, 'data')
        with open(os.path.join(data, 'config.json'), encoding='utf-8') as file:
            sections = set(json.load(file)) - {'cluster', 'replicas'}
        if sections:
            raise Failure(f'config.json has settings of its own: {sections}')
        for replica in self.postgres:
            shown = subprocess.run([os.path.join(postgres_directory(), 'psql'), '-XAtq', '-h', os.path.join(data, str(replica), 'socket'), '-U',
                                    'postgres', '-c', "SELECT current_setting('fsync') || current_setting('full_page_writes')", 'postgres'],
                                   capture_output=True, text=True, check=False).stdout.strip()
            if shown != 'onon':
                raise Failure(f'PostgreSQL of replica {replica} is not durable: fsync and full_page_writes are "{shown}"')

    def find_processes(self, root):
        children = processes.children_of()
        for pid in processes.tree(root, children):
            words = processes.command_line(pid)
            if 'serve' in words and '--replica' in words:
                replica = int(words[words.index('--replica') + 1])
                self.proxies[replica] = pid
                self.postgres[replica] = next((child for child in children.get(pid, [])
                                               if 'postgres' in os.path.basename(processes.command_line(child)[0])), None)
        if len(self.proxies) != self.n_replicas or None in self.postgres.values():
            raise Failure(f'cannot find the processes of caucus up: {self.proxies} {self.postgres}')

    def leader(self):
        status = json.loads(http_get(self.url() + '/_caucus/status') or '{}')
        return status.get('leader') or 1

    def parts(self):
        leader = self.leader()
        followers = [replica for replica in self.proxies if replica != leader]
        return {
            'proxy, leader': lambda: processes.cpu_us(self.proxies[leader], False),
            'proxies, followers': lambda: sum((processes.cpu_us(self.proxies[r], False) for r in followers)),
            'PostgreSQL, leader': lambda: processes.tree_cpu_us(self.postgres[leader]),
            'PostgreSQL, followers': lambda: sum((processes.tree_cpu_us(self.postgres[r]) for r in followers)),
        }

    def http_cpu_us(self):
        return sum(processes.thread_cpu_us(pid, 'caucus http') for pid in self.proxies.values())

    def log_bytes(self):
        """Of the leader; for weak writes of all together: each replica logs its own."""
        replicas = list(self.proxies) if self.weak else [self.leader()]
        return sum(metric_sum(http_get(self.url(replica) + '/_caucus/metrics'), 'caucus_log_bytes_total') or 0 for replica in replicas)

    def can(self, case):
        return case in self.MIXES

    def run(self, case, clients, seconds, warmup):
        mix, to = self.MIXES[case]
        self.weak = case.startswith('weak')
        verify = [] if case in ('insert', 'weak insert') else ['--no-verify']
        return self.load(mix, clients, seconds, warmup, '--to', to, '--rows', str(self.rows), '--value-bytes', str(VALUE_BYTES), *verify)

    def load(self, mix, clients, seconds, warmup, *more):
        return self.run_generator([
            self.program, 'bench', '--url', self.url(), '--mix', mix, '--clients', str(clients), '--duration', str(seconds),
            '--warmup', str(warmup), '--bulk-rows', str(BULK_ROWS), '--json', *more])


class Etcd(System):
    name = 'etcd'
    title = 'etcd, three members'

    MIXES = {'insert': 'insert', 'update': 'update', 'read': 'read', 'read, session': 'read@local'}

    def __init__(self, directory, program):
        super().__init__(directory)
        self.program = program
        self.base = 0

    def urls(self):
        return [f'http://127.0.0.1:{self.base + i}' for i in (1, 2, 3)]

    def start(self):
        self.base = free_ports([1, 2, 3, 11, 12, 13])
        peers = {i: f'http://127.0.0.1:{self.base + 10 + i}' for i in (1, 2, 3)}
        for i in (1, 2, 3):
            self.spawn(['etcd', '--name', f'm{i}', '--data-dir', os.path.join(self.directory, f'm{i}'),
                        '--listen-client-urls', self.urls()[i - 1], '--advertise-client-urls', self.urls()[i - 1],
                        '--listen-peer-urls', peers[i], '--initial-advertise-peer-urls', peers[i],
                        '--initial-cluster', ','.join(f'm{k}={url}' for k, url in peers.items()),
                        '--initial-cluster-state', 'new', '--logger', 'zap', '--log-level', 'error'], f'm{i}.log', 'KILL')
        wait_until('etcd', lambda: all('true' in (http_get(url + '/health') or '') for url in self.urls()))
        subprocess.run([*self.generator('http'), '--prepare', '--duration', '0'], check=True)

    def generator(self, protocol, urls=None):
        options = [word for url in urls or self.urls() for word in ('--url', url)]
        return [self.program, *options, '--protocol', protocol, '--rows', str(ROWS), '--value-bytes', str(VALUE_BYTES)]

    def leader(self):
        """Index of the leading member."""
        for i, url in enumerate(self.urls()):
            if metric_sum(http_get(url + '/metrics'), 'etcd_server_is_leader') == 1:
                return i
        raise Failure('etcd has no leader')

    def parts(self):
        leader = self.leader()
        return {
            'etcd, leader': lambda: processes.cpu_us(self.children[leader].pid, False),
            'etcd, followers': lambda: sum((processes.cpu_us(child.pid, False) for i, child in enumerate(self.children)
                                            if i != leader)),
        }

    def log_bytes(self):
        return metric_sum(http_get(self.urls()[self.leader()] + '/metrics'), 'etcd_disk_wal_write_bytes_total')

    protocol = 'grpc'

    def can(self, case):
        return case in self.MIXES

    def run(self, case, clients, seconds, warmup):
        writes = case in ('insert', 'update')  # writes go to the leader, as with the others; reads are spread
        urls = [self.urls()[self.leader()]] if writes else None
        return self.run_generator([*self.generator(self.protocol, urls), '--mix', self.MIXES[case], '--clients', str(clients),
                                   '--duration', str(int(seconds * 1000)), '--warmup', str(int(warmup * 1000)), '--json'])


class EtcdHttp(System):
    """The same cluster through its HTTP gateway."""
    name = 'etcd-http'
    title = 'etcd, HTTP gateway'

    def __init__(self, etcd):
        super().__init__(etcd.directory)
        self.etcd = etcd

    def start(self):
        pass

    def can(self, case):
        return self.etcd.can(case)

    def run(self, case, clients, seconds, warmup):
        self.etcd.protocol = 'http'
        try:
            return self.etcd.run(case, clients, seconds, warmup)
        finally:
            self.etcd.protocol = 'grpc'


def postgres_directory():
    """bin directory of the newest PostgreSQL from 15 on."""
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin/initdb'), key=lambda path: int(path.split('/')[4]))
    if not found:
        raise Failure('PostgreSQL is not installed')
    return os.path.dirname(found[-1])


class Postgres(System):
    """PostgreSQL alone, reached as pgbench reaches it fastest: over a unix socket, with prepared statements."""
    name = 'postgres'
    title = 'PostgreSQL alone'
    standbys = 0

    SCRIPTS = {
        'insert': 'INSERT INTO bench_strong (id, value) VALUES (gen_random_uuid(), :v);',
        'update': '\\set n random(0, {last})\nUPDATE bench_strong SET value = :v WHERE id = md5(:n)::uuid;',
        'read': '\\set n random(0, {last})\nSELECT id, value FROM bench_strong WHERE id = md5(:n)::uuid;',
    }
    CREATE = 'CREATE TABLE bench_strong (id uuid PRIMARY KEY, value text NOT NULL)'
    # As Caucus sets its own, so that only the replication differs.
    SETTINGS = {'listen_addresses': '', 'shared_buffers': '128MB', 'max_wal_size': '1GB', 'jit': 'off', 'fsync': 'on', 'default_toast_compression': 'lz4',
                'synchronous_commit': 'on', 'max_connections': '400', 'log_min_messages': 'fatal', 'wal_level': 'replica',
                'max_wal_senders': '8', 'log_checkpoints': 'off'}

    def __init__(self, directory):
        super().__init__(directory)
        self.bin = postgres_directory()
        root = os.geteuid() == 0
        self.user = ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups'] if root else []
        if root:
            shutil.chown(directory, 'postgres', 'postgres')
        self.servers = []
        self.rows = 0  # that updates and reads know

    def program(self, name):
        return os.path.join(self.bin, name)

    def as_user(self, *command, **more):
        result = subprocess.run([*self.user, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                cwd=self.directory, check=False, **more)
        if result.returncode != 0:
            raise Failure(f'{" ".join(command)}\n{result.stdout}')
        return result.stdout

    def psql(self, sql, node='primary'):
        return self.as_user(self.program('psql'), '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-h', self.socket(node), '-U',
                            'postgres', '-c', sql, 'postgres').strip()

    def socket(self, node):
        return os.path.join(self.directory, node + '.s')

    def settings(self, _node):
        return dict(self.SETTINGS)

    def serve(self, node):
        data = os.path.join(self.directory, node)
        self.as_user('mkdir', '-p', self.socket(node))
        with open(os.path.join(data, 'postgresql.auto.conf'), 'a', encoding='utf-8') as file:
            for key, value in {**self.settings(node), 'unix_socket_directories': self.socket(node)}.items():
                file.write(f"{key} = '{value}'\n")
        child = self.spawn([*(self.user or ['setpriv']), '--pdeathsig', 'QUIT', self.program('postgres'), '-D', data], node + '.log',
                           death=None, cwd=self.directory)
        self.servers.append(child)
        ready = [self.program('pg_isready'), '-q', '-h', self.socket(node), '-U', 'postgres']
        wait_until(f'PostgreSQL {node}', lambda: subprocess.run(ready, check=False).returncode == 0)

    def make_primary(self, node='primary'):
        self.as_user(self.program('initdb'), '-D', os.path.join(self.directory, node), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8',
                     '--locale', 'C', '--data-checksums', '--no-sync')
        self.serve(node)

    def make_standby(self, node):
        self.as_user(self.program('pg_basebackup'), '-h', self.socket('primary'), '-U', 'postgres', '-D',
                     os.path.join(self.directory, node), '-R', '-X', 'stream', '-c', 'fast', '-d',
                     f'host={self.socket("primary")} user=postgres application_name={node}')
        self.serve(node)

    def start(self, rows=ROWS):
        self.make_primary()
        self.psql(self.CREATE)
        self.fill(rows)
        for i in range(self.standbys):
            self.make_standby(f's{i + 1}')
        if self.standbys:
            names = ', '.join(f's{i + 1}' for i in range(self.standbys))
            self.psql(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'")
            self.psql('SELECT pg_reload_conf()')
            wait_until('synchronous standbys', lambda: self.psql(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") == str(self.standbys))
        self.psql('CHECKPOINT')

    def stop(self, how=signal.SIGINT):
        super().stop(how)
        self.servers = []

    def fill(self, rows):
        """So many rows with known keys."""
        self.psql(f"INSERT INTO bench_strong SELECT md5(i::text)::uuid, '{VALUE}' FROM generate_series({self.rows}, {rows - 1}) i")
        self.rows = rows

    def parts(self):
        parts = {'PostgreSQL, primary': lambda: processes.tree_cpu_us(self.servers[0].pid)}
        if self.standbys:
            parts['PostgreSQL, standbys'] = lambda: sum((processes.tree_cpu_us(s.pid) for s in self.servers[1:]))
        return parts

    def log_bytes(self):
        return float(self.psql("SELECT pg_current_wal_lsn() - '0/0'"))

    def can(self, case):
        return case in self.SCRIPTS

    def pgbench(self, script, clients, seconds, node='primary', log=False):
        # Latencies of a sample of the transactions: writing them all down would slow pgbench.
        logging = ['-l', '--log-prefix', os.path.join(self.directory, 'latency-' + node), '--sampling-rate', '1' if clients == 1 else '0.05'] if log else []
        return [self.program('pgbench'), '-n', '-M', 'prepared', '-h', self.socket(node), '-U', 'postgres', '-c', str(clients), '-j',
                str(min(clients, max(1, (os.cpu_count() or 2) // 2))), '-T', str(max(1, round(seconds))), '-D', f'v={VALUE}', *logging,
                '-f', script, 'postgres']

    def write_script(self, case):
        path = os.path.join(self.directory, case.replace(' ', '-') + '.sql')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(self.SCRIPTS[case].format(last=max(0, self.rows - 1)))
        return path

    def run(self, case, clients, seconds, warmup):
        script = self.write_script(case)
        if warmup > 0:
            subprocess.run(self.pgbench(script, clients, warmup), check=True, capture_output=True)
        return self.run_pgbench([self.pgbench(script, clients, seconds, log=True)])

    def run_pgbench(self, commands):
        """One or several at a time (a server each); their rates are added."""
        for path in glob.glob(os.path.join(self.directory, 'latency-*')):
            os.remove(path)
        memory = []
        look = threading.Timer(0.7, lambda: memory.append(processes.memory_mb(self.pids())))
        before = self.sample()
        look.start()
        own = os.times()
        children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands]
        texts = [child.communicate() for child in children]
        look.join()
        time.sleep(0.1)  # the backends end, so that their cost is their parent's
        after = self.sample()
        own = [now - then for now, then in zip(os.times(), own)]
        for child, (_, errors) in zip(children, texts):
            if child.returncode != 0:
                raise Failure(f'pgbench: exit {child.returncode}\n{errors[-2000:]}')
        numbers = [self.read_pgbench(out) for out, _ in texts]
        n_operations = max(1, sum(n for n, _, _ in numbers))
        latencies = sorted(self.latencies())
        result = self.measurement(before, after, n_operations, memory[0] if memory else 0.0, {
            'per_second': sum(rate for _, rate, _ in numbers),
            'p50_ms': latencies[len(latencies) // 2] if latencies else 0,
            'p99_ms': latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] if latencies else 0,
            'mean_ms': sum(mean * n for n, _, mean in numbers) / n_operations})
        result['rows_per_second'] = result['per_second']
        result['cpu_us']['load generator'] = (own[2] + own[3]) * 1e6 / n_operations
        return result

    @staticmethod
    def read_pgbench(text):
        """(transactions, per second without connecting, mean latency in ms)"""
        found = {}
        for line in text.splitlines():
            for key, mark in (('n', 'number of transactions actually processed:'), ('rate', 'tps ='), ('mean', 'latency average =')):
                if line.startswith(mark):
                    found[key] = line[len(mark):].split()[0].split('/')[0]
        return int(found['n']), float(found['rate']), float(found['mean'])

    def latencies(self):
        for path in glob.glob(os.path.join(self.directory, 'latency-*')):
            with open(path, encoding='utf-8') as file:
                for line in file:
                    yield int(line.split()[2]) / 1000


class PostgresQuorum(Postgres):
    name = 'postgres-quorum'
    title = 'PostgreSQL, ANY 1 of 2 standbys'
    standbys = 2


class Pglogical(Postgres):
    """Two servers that write and send each other their rows (pglogical, asynchronous, last update wins)."""
    name = 'pglogical'
    title = 'pglogical, both ways'
    NODES = ('primary', 'second')
    SCRIPTS = {'insert': Postgres.SCRIPTS['insert']}
    SETTINGS = {**Postgres.SETTINGS, 'wal_level': 'logical', 'shared_preload_libraries': 'pglogical', 'track_commit_timestamp': 'on',
                'max_worker_processes': '16', 'max_replication_slots': '8', 'pglogical.conflict_resolution': 'last_update_wins'}

    def start(self):
        for node in self.NODES:
            self.make_primary(node)
            if self.psql("SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'", node) == '1':  # since 15.20
                self.psql('ALTER SYSTEM SET output_plugin_libraries = pgoutput, pglogical_output', node)
                self.psql('SELECT pg_reload_conf()', node)
            self.psql(self.CREATE, node)
            self.psql('CREATE EXTENSION pglogical', node)
            self.psql(f"SELECT pglogical.create_node('{node}', '{self.dsn(node)}')", node)
            self.psql("SELECT pglogical.replication_set_add_all_tables('default', ARRAY['public'])", node)
        for node, other in (self.NODES, self.NODES[::-1]):
            self.psql(f"SELECT pglogical.create_subscription('from_{other}', '{self.dsn(other)}', synchronize_data := false, "
                      "forward_origins := '{}')", node)
        for node in self.NODES:
            wait_until('pglogical', lambda node=node: self.psql(
                "SELECT count(*) FROM pglogical.show_subscription_status() WHERE status = 'replicating'", node) == '1')

    def dsn(self, node):
        return f'host={self.socket(node)} user=postgres dbname=postgres'

    def parts(self):
        return {'PostgreSQL, both': lambda: sum((processes.tree_cpu_us(server.pid) for server in self.servers))}

    def log_bytes(self):
        return sum(float(self.psql("SELECT pg_current_wal_lsn() - '0/0'", node)) for node in self.NODES)

    def run(self, case, clients, seconds, warmup):
        script = self.write_script(case)
        half = max(1, clients // 2)
        if warmup > 0:
            self.run_pgbench([self.pgbench(script, half, warmup, node) for node in self.NODES])
        return self.run_pgbench([self.pgbench(script, half, seconds, node, log=True) for node in self.NODES])
