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
        settings = dict(include_dashboard=False, object_store_memory=100 * 2**20, _system_config=HEALTH)
        started.append(Cluster(True, head_node_args=dict(settings, **resources)))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        # With temp_dir it would still note its address in /tmp/ray, which need not be there and others may use.
        patch.setenv('RAY_TMPDIR', ray_folder)
        yield start_cluster
        for cluster in started:
            cluster.shutdown()
