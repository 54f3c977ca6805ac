"""TPU slices: pods of GKE by their variables, TPU VMs by a server of metadata."""

import http.server
import threading

import pytest
from jax._src.clusters import cloud_tpu_cluster

from gpt_jax.core.errors import UserError
from gpt_jax.parallel import tpu_pods

POD = dict(TPU_WORKER_HOSTNAMES='127.0.0.1,b,c,d', TPU_WORKER_ID='2')
SECOND_SLICE = dict(
  MEGASCALE_COORDINATOR_ADDRESS='localhost:8080',
  MEGASCALE_NUM_SLICES='2',
  MEGASCALE_SLICE_ID='1',
)
ONE_SLICE = dict(MEGASCALE_NUM_SLICES='', MEGASCALE_SLICE_ID='')
VM = {
  'agent-worker-number': '1',
  'worker-network-endpoints': 'x:0:127.0.0.1,x:1:10.0.0.2',
  'tpu-env': "ACCELERATOR_TYPE: 'v5litepod-16'\nWORKER_ID: '1'\n",
}
TWO_SLICES = VM | {
  'tpu-env': ''.join(f"{name}: '{value}'\n" for name, value in SECOND_SLICE.items())
}


@pytest.fixture(autouse=True)
def tpus(monkeypatch):
  monkeypatch.setattr(tpu_pods, 'uses_tpu', lambda: True)


@pytest.fixture
def metadata(monkeypatch):
  """Returns (attributes) -> an environment with a metadata server that has them."""
  servers = []

  def serve(attributes, code=404):
    class Handler(http.server.BaseHTTPRequestHandler):
      def do_GET(self):
        text = attributes.get(self.path.rpartition('/')[2])
        self.send_response(code if text is None else 200)
        self.end_headers()
        self.wfile.write((text or '').encode())

      def log_message(self, *_):
        pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    servers.append(server)
    address = f'127.0.0.1:{server.server_port}'
    monkeypatch.setenv('GCE_METADATA_IP', address)
    return dict(GCE_METADATA_IP=address)

  yield serve
  for server in servers:
    server.shutdown()
    server.server_close()


def same_as_jax(found, cluster):
  assert found.coordinator == cluster.get_coordinator_address(5, None)
  assert found.num_processes == cluster.get_process_count() == len(found.hosts)
  assert found.process_id == cluster.get_process_id()


@pytest.mark.parametrize('slices', [ONE_SLICE, SECOND_SLICE])
def test_pods_of_gke_are_found_as_jax_finds_them(monkeypatch, slices):
  environ = POD | slices
  for name, value in (environ | dict(MEGASCALE_COORDINATOR_ADDRESS='')).items():
    monkeypatch.setenv(name, environ.get(name, value))
  found = tpu_pods.find_in_pod(environ)
  same_as_jax(found, cloud_tpu_cluster.GkeTpuCluster)
  assert found.local_devices is None


def test_missing_pods_are_named_by_slice_and_worker():
  found = tpu_pods.find_in_pod(POD | SECOND_SLICE)
  assert found.label(found.process_id) == '6 (c)'
  assert found.label(1) == '1 (worker 1 of slice 0)'


@pytest.mark.parametrize('attributes', [VM, TWO_SLICES])
def test_tpu_vms_are_found_as_jax_finds_them(metadata, attributes):
  found = tpu_pods.find_on_vm(metadata(attributes))
  same_as_jax(found, cloud_tpu_cluster.GceTpuCluster)
  assert found.variables['agent-worker-number'] == '1'


@pytest.mark.parametrize(
  ('attributes', 'reason'),
  [
    ({}, 'knows of no TPU slice'),
    (VM | {'worker-network-endpoints': 'a', 'agent-worker-number': '0'}, 'one host'),
  ],
)
def test_a_tpu_vm_that_is_alone_says_why(metadata, attributes, reason):
  assert reason in tpu_pods.find_on_vm(metadata(attributes))


def test_a_metadata_server_that_fails_is_an_error(metadata):
  with pytest.raises(UserError, match='does not say how many hosts.*503.*=1'):
    tpu_pods.find_on_vm(metadata({}, code=503))


@pytest.mark.parametrize(
  ('environ', 'message'),
  [
    (dict(TPU_WORKER_HOSTNAMES='a,b'), 'TPU_WORKER_ID is not set'),
    (POD | dict(TPU_WORKER_ID='4'), 'process 4 of 4'),
    (POD | dict(MEGASCALE_NUM_SLICES='2'), 'MEGASCALE_SLICE_ID are not set'),
  ],
)
def test_incomplete_variables_of_a_pod_are_an_error(environ, message):
  with pytest.raises(UserError, match=message):
    tpu_pods.find_in_pod(environ)


def test_a_pod_without_others_or_without_tpus_is_alone(monkeypatch):
  assert tpu_pods.find_in_pod({}) is None
  assert 'one host' in tpu_pods.find_in_pod(dict(TPU_WORKER_HOSTNAMES='localhost'))
  monkeypatch.setattr(tpu_pods, 'uses_tpu', lambda: False)
  assert 'does not use TPUs' in tpu_pods.find_in_pod(POD)
