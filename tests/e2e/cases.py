"""What test cases share that run all their tests on one cluster."""
import unittest

from cluster import SCHEMA, Cluster, CutCluster, wait_until


class OneCluster(unittest.TestCase):
    """Everything as `caucus up` makes it."""
    cluster = None
    SCHEMA = SCHEMA

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(schema=cls.SCHEMA)
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)


class OneCutCluster(unittest.TestCase):
    """Replicas that can be cut off from each other; each test leaves them connected."""
    cluster = None
    SECTIONS = {}     # of config.json
    MIGRATION = None  # applied after the usual schema

    @classmethod
    def setUpClass(cls):
        cls.cluster = CutCluster.make(**cls.SECTIONS)
        try:
            cls.cluster.start_all()
            if cls.MIGRATION:
                cls.cluster.migrate('0002_more', cls.MIGRATION)
        except BaseException:
            cls.cluster.close(failed=True)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def tearDown(self):
        self.cluster.heal()

    def write(self, replica, method, path, body=None, status=(200, 201, 204), **headers):
        """Headers: Prefer='...', with _ where the name has -."""
        answer = self.cluster.request(replica, method, path, body, headers={name.replace('_', '-'): value for name, value in headers.items()})
        self.assertIn(answer.status, status, answer)
        return answer

    def wait_equal(self):
        """Until every replica has the same weak writes; then all rows must be equal."""
        def frontiers():
            statuses = [self.cluster.status(replica) for replica in self.cluster.ids]
            return all(statuses) and len({str(sorted(status['frontier'].items())) for status in statuses}) == 1
        wait_until(frontiers, 60, 'equal frontiers')
        self.cluster.verify()
