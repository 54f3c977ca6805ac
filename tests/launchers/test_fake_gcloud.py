"""The gcloud of the tests is the real one: same answers, same errors, same codes.

The real one talks to a small TPU API on this machine; it needs no account.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from gpt_jax.launchers import queued_resource, slices, tpu_workers
from tests.launchers import tpu_api, tpu_cloud

GCLOUD = shutil.which('gcloud')
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(GCLOUD is None, reason='needs gcloud: package google-cloud-cli'),
]
NAME = 'gpt2'
ZONE = ['--zone=us-west4-a']


def request(topology, **settings):
  wanted = slices.parse(topology)
  return queued_resource.Request(
    name=NAME, slices=wanted, zone='us-west4-a', project='p', **settings
  )


@pytest.fixture(scope='module')
def real(tmp_path_factory):
  """Returns ({name: resource} of the API, environment of the real gcloud)."""
  folder = tmp_path_factory.mktemp('gcloud')
  (folder / 'token').write_text('token')
  with tpu_api.served() as (url, resources):
    yield (
      resources,
      {
        'PATH': os.environ['PATH'],
        'HOME': str(folder),
        'CLOUDSDK_CONFIG': str(folder / 'config'),
        'CLOUDSDK_AUTH_ACCESS_TOKEN_FILE': str(folder / 'token'),
        'CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU': url,
        'CLOUDSDK_CORE_PROJECT': 'my-project',
        'CLOUDSDK_CORE_DISABLE_USAGE_REPORTING': 'true',
        'CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK': 'true',
      },
    )


@pytest.fixture
def both(tmp_path, monkeypatch, real):
  """Returns a function: words after the group -> (of the fake, of the real one)."""
  resources, environment = real
  resources.clear()
  tpu_cloud.install(tmp_path, monkeypatch)
  monkeypatch.delenv('CLOUDSDK_COMPUTE_ZONE')

  def call(words):
    words = [*queued_resource.GROUP[1:], *words]
    fake = subprocess.run(['gcloud', *words], capture_output=True, text=True)
    true = subprocess.run(
      [GCLOUD, *words], capture_output=True, text=True, env=environment, timeout=60
    )
    return fake, true

  call.folder, call.environment = tmp_path, environment
  return call


def message(done):
  """Returns an error of gcloud without what it says about the token and on help."""
  text = re.split(' This command is authenticated|\nUsage:', done.stderr)[0]
  return re.sub(r'\s+', ' ', text.split('\n\n')[0]).strip(' .')


REQUESTS = [
  request('v5e:4x4', spot=True),
  request('2xv5e:4x4', service_account='trainer@p.iam.gserviceaccount.com'),
  request('v4:2x2x4', reserved=True, network='net', subnetwork='sub'),
  request('v5p:4x4x4', internal_ips=True, runtime='v2-alpha-tpuv5'),
]


@pytest.mark.parametrize('wanted', REQUESTS, ids=lambda one: one.slices.name)
def test_what_is_asked_for_is_kept_by_both(both, wanted):
  described = []
  for step in (wanted.describe(), wanted.create(), wanted.create(), wanted.describe()):
    fake, true = both(step.words[len(queued_resource.GROUP) :])
    assert fake.returncode == true.returncode, (step, fake.stderr, true.stderr)
    if fake.returncode:
      assert message(fake) == message(true)
    described.append((fake, true))
  fake, true = (json.loads(done.stdout) for done in described[-1])
  assert fake['state'].pop('state') == 'WAITING_FOR_RESOURCES'
  assert true['state'].pop('state') == 'ACCEPTED'
  assert fake == true
  queued_resource._require_same(wanted, true)


@pytest.mark.parametrize('wanted', REQUESTS[:2], ids=lambda one: one.slices.name)
def test_both_give_machines_back(both, wanted):
  for step in (wanted.create(), wanted.delete(), wanted.delete()):
    fake, true = both(step.words[len(queued_resource.GROUP) :])
    assert fake.returncode == true.returncode, (step, fake.stderr, true.stderr)
  assert message(fake) == message(true)


CREATE = ['create', NAME, *ZONE]
NODE, TYPE = '--node-id=a', '--accelerator-type=v5litepod-16'
RUNTIME = '--runtime-version=r'


@pytest.mark.parametrize(
  'words, same_text',
  [
    ([*CREATE, NODE, TYPE], True),  # no runtime version
    ([*CREATE, NODE, TYPE, RUNTIME, '--runtime=1'], False),
    ([*CREATE, TYPE, RUNTIME], False),  # neither node id nor count
    ([*CREATE, NODE, '--node-count=2', TYPE, RUNTIME], False),
    ([*CREATE, '--node-count=1', TYPE, RUNTIME], True),
    ([*CREATE, NODE, '--type=v5p', '--topology=2x2x4', RUNTIME], False),
    ([*CREATE, NODE, TYPE, '--type=v4', '--topology=2x2x4', RUNTIME], False),
    (['create', NAME, NODE, TYPE, RUNTIME], False),  # no zone
    (['describe', NAME, *ZONE, '--node=all'], False),
    (['delete', NAME, *ZONE, '--recursive'], False),
    (['ssh', NAME, *ZONE, '--command=ls', '--workers=all'], False),
    (['ssh', NAME, *ZONE, '--internal-ip', '--tunnel-through-iap'], False),
    (['scp', 'a', f'{NAME}:', *ZONE, '--command=ls'], False),
  ],
)
def test_both_refuse_the_same_flags(both, words, same_text):
  fake, true = both(words)
  assert fake.returncode == true.returncode != 0, (fake.stderr, true.stderr)
  if same_text:
    assert message(fake) == message(true)


def test_both_say_when_nobody_is_logged_in(both):
  (both.folder / 'login').unlink()
  del both.environment['CLOUDSDK_AUTH_ACCESS_TOKEN_FILE']
  try:
    fake, true = both(['describe', NAME, *ZONE])
  finally:
    token = os.path.join(both.environment['HOME'], 'token')
    both.environment['CLOUDSDK_AUTH_ACCESS_TOKEN_FILE'] = token
  assert fake.returncode == true.returncode == 1
  assert message(fake) == message(true)


def test_the_real_gcloud_knows_all_flags_of_ssh_and_scp(both):
  # Without nodes it ends at the resource, after it has read every flag.
  wanted = request('2xv5e:4x4')
  workers = tpu_workers.Workers(wanted, NAME, 'f' * 40, ('--tunnel-through-iap',))
  for call in (workers.copy('/dev/null'), workers.tell('start', '1')):
    fake, true = both(call.words[len(queued_resource.GROUP) :])
    assert fake.returncode == true.returncode == 1
    assert 'NOT_FOUND' in fake.stderr
    assert 'not found' in true.stderr.lower(), true.stderr
