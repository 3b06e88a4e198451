"""A cluster of three replicas with the conformance schema and tokens, for the tests of this directory."""
import base64
import hashlib
import hmac
import json
import os
import random
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))
from cluster import Cluster, command  # noqa: E402

SECRET = 'h1-conformance-secret-0123456789abcdef'


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def token(role, secret=SECRET, **claims):
    """A token for an hour; claims that are None are left out."""
    claims = {'role': role, 'exp': int(time.time()) + 3600, **claims}
    claims = {name: value for name, value in claims.items() if value is not None}
    text = base64url(b'{"alg":"HS256","typ":"JWT"}') + '.' + base64url(json.dumps(claims).encode())
    return text + '.' + base64url(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def seed():
    """What chooses the replicas; CAUCUS_SEED repeats a run."""
    value = int(os.environ.get('CAUCUS_SEED', random.SystemRandom().randrange(1 << 32)))
    print(f'seed {value} (CAUCUS_SEED={value} repeats this choice of replicas)', flush=True)
    return value


class ConformanceCluster(Cluster):
    """`caucus up` with a configuration of ours: schemas, tokens, everything that is off by default on."""

    auth = {'jwt_secret': SECRET, 'jwks_file': os.path.join(HERE, 'test_keys.json'), 'anonymous_role': 'h1_anon'}
    rest = {'aggregates': True, 'rollback': True, 'plans': True}
    schemas = ['public', 'tenant2']
    schema_file = 'schema.sql'
    n_replicas = 3

    def __init__(self):
        super().__init__(self.n_replicas)
        self.schema = os.path.join(self.root, '0001_conformance.sql')
        shutil.copy(os.path.join(HERE, self.schema_file), self.schema)
        os.makedirs(self.data)
        with open(self.config, 'w', encoding='utf-8') as file:
            json.dump({'cluster': 'conformance', 'replicas': [self.replica(number) for number in self.ids],
                       'postgres': {'schemas': self.schemas}, 'rest': self.rest,
                       'auth': self.auth}, file)

    def replica(self, number):
        os.makedirs(os.path.join(self.data, str(number)))
        made = command('keygen', '--json', '--out', os.path.join(self.data, str(number), 'key'))
        assert made.returncode == 0, made.stderr
        return {'id': number, 'http': f'127.0.0.1:{self.port(number)}', 'peer': f'127.0.0.1:{self.port(number) + 100}',
                'public_key': json.loads(made.stdout)['public_key'], 'data_directory': str(number)}

    def migrate(self, path):
        """Applies a further file of SQL."""
        made = command('migrate', '--config', self.config, path)
        print(made.stdout + made.stderr, flush=True)
        return made.returncode == 0

    def urls(self):
        return [f'http://127.0.0.1:{self.port(number)}' for number in self.ids]
