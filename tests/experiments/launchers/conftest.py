"""Real clusters of Ray on this machine."""

import pytest

#: A dead node is noticed within seconds.
HEALTH = dict(health_check_initial_delay_ms=500, health_check_period_ms=500, health_check_failure_threshold=3)


@pytest.fixture(scope='module')
def start_cluster(need_ray, ray_folder):
    """start_cluster(**resources): a cluster with one node of these resources, to which more can be added."""
    from ray.cluster_utils import Cluster

    started = []

    def start_cluster(**resources):
        settings = dict(include_dashboard=False, object_store_memory=100 * 2**20, temp_dir=ray_folder)
        started.append(Cluster(True, head_node_args=dict(settings, _system_config=HEALTH, **resources)))
        return started[-1]

    yield start_cluster
    for cluster in started:
        cluster.shutdown()
