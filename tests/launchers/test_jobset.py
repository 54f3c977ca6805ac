"""JobSet manifests: valid for the real schema, and those of tests/golden/."""

import copy
import json
import os
import pathlib
import re

import pytest
import yaml

from gpt_jax.core.errors import (
  CheckpointError,
  ConfigError,
  DataError,
  DivergedError,
  Interrupted,
  StorageError,
)
from gpt_jax.launchers import dns_labels, jobset, slices

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'golden'
COMMAND = (
  'gpt-jax',
  'train',
  '--config=configs/gpt2.py:124m',
  '--workdir=gs://my-bucket/runs/gpt2',
)
IMAGE = 'us-docker.pkg.dev/my-project/images/gpt-jax:0123abc'
MANIFESTS = {
  'gke_v5e_4x4': jobset.manifest(
    'gpt2', COMMAND, slices.parse('v5e:4x4'), jobset.Settings(image=IMAGE)
  ),
  'gke_2xv5e_4x4_spot_kueue': jobset.manifest(
    'gpt2',
    COMMAND,
    slices.parse('2xv5e:4x4'),
    jobset.Settings(
      image=IMAGE,
      namespace='research',
      queue='team-a',
      priority='low',
      service_account='trainer',
      spot=True,
      max_restarts=3,
    ),
    {'LIBTPU_INIT_ARGS': '--xla_tpu_scoped_vmem_limit_kib=65536'},
  ),
  'gke_v5p_4x4x4_reserved': jobset.manifest(
    'gpt2',
    COMMAND,
    slices.parse('v5p:4x4x4'),
    jobset.Settings(image=IMAGE, reservation='tpu-reservation', grace_seconds=600),
  ),
  'gke_prepare_without_tpus': jobset.manifest(
    'prepare-shard-1',
    ('gpt-jax', 'prepare', '--out=gs://my-bucket/corpus', '--shard=1/8'),
    None,
    jobset.Settings(image=IMAGE, cpu='8', memory='32Gi', service_account='trainer'),
  ),
}


def strict(schema):
  """Returns an OpenAPI schema that refuses unknown fields, as the API server does."""
  if not isinstance(schema, dict):
    return schema
  schema = {key: value for key, value in schema.items() if not key.startswith('x-')}
  for key in ('properties',):
    if key in schema:
      schema[key] = {name: strict(part) for name, part in schema[key].items()}
      schema.setdefault('additionalProperties', False)
  for key in ('items', 'additionalProperties'):
    if key in schema:
      schema[key] = strict(schema[key])
  return schema


@pytest.fixture(scope='session')
def check():
  """Returns a validator of the real JobSet schema, or skips and says why."""
  jsonschema = pytest.importorskip('jsonschema', reason='needs jsonschema: extra test')
  given = os.environ.get('GPT_JAX_JOBSET_SCHEMA', '')
  shared = ROOT.parent / 'shared' / 'cluster' / 'jobset_v1alpha2.schema.json'
  path = pathlib.Path(given or shared)
  if not path.exists():
    pytest.skip('needs the schema of JobSet: set GPT_JAX_JOBSET_SCHEMA to its file')
  found = json.loads(path.read_text())
  assert found['apiVersion'] == jobset.API_VERSION
  return jsonschema.Draft4Validator(strict(found['openAPIV3Schema']))


@pytest.mark.parametrize('name', MANIFESTS)
def test_manifests_are_valid_for_the_real_schema(name, check):
  assert [error.message for error in check.iter_errors(MANIFESTS[name])] == []


@pytest.mark.parametrize(
  'place, field, value',
  [
    (['spec'], 'replicatedJob', []),
    (['spec', 'failurePolicy'], 'maxRestart', 3),
    (['spec', 'failurePolicy'], 'maxRestarts', '3'),
    (['spec', 'failurePolicy'], 'restartStrategy', 'Never'),
    (['spec', 'replicatedJobs', 0, 'template', 'spec'], 'completion', 1),
    (
      ['spec', 'replicatedJobs', 0, 'template', 'spec', 'template', 'spec'],
      'nodeSelectors',
      {},
    ),
  ],
)
def test_the_validator_refuses_what_the_server_would(place, field, value, check):
  wrong = copy.deepcopy(MANIFESTS['gke_v5e_4x4'])
  part = wrong
  for key in place:
    part = part[key]
  part[field] = value
  assert list(check.iter_errors(wrong))


@pytest.mark.parametrize('name', MANIFESTS)
def test_manifests_are_those_of_the_golden_files(name):
  # To renew one: yaml.safe_dump(MANIFESTS[name], sort_keys=False, width=88).
  assert yaml.safe_load((GOLDEN / f'{name}.yaml').read_text()) == MANIFESTS[name]


@pytest.mark.parametrize('name', MANIFESTS)
def test_manifests_keep_the_rules_that_schemas_cannot_say(name):
  (job,) = MANIFESTS[name]['spec']['replicatedJobs']
  spec = job['template']['spec']
  pod = spec['template']['spec']
  (container,) = pod['containers']
  rules = spec['podFailurePolicy']['rules']
  assert pod['restartPolicy'] == 'Never'  # needed by a pod failure policy
  for rule in rules:
    codes = rule.get('onExitCodes')
    assert ('onExitCodes' in rule) != ('onPodConditions' in rule)
    if codes:
      assert (
        codes['values'] == sorted(set(codes['values'])) and 0 not in codes['values']
      )
      assert codes['containerName'] == container['name']
  # Kubernetes: requests of extended resources equal their limits.
  requests = container['resources']['requests']
  assert requests.items() >= container['resources'].get('limits', {}).items()
  labels = MANIFESTS[name]['metadata']['labels'].values()
  assert all(
    re.fullmatch(r'[A-Za-z0-9]([A-Za-z0-9_.-]{,61}[A-Za-z0-9])?', v) for v in labels
  )


# The message of a Job that its pod failure policy has failed, as Kubernetes words it
# (pkg/controller/job/pod_failure_policy.go).
BY_EXIT = (
  'Container gpt-jax for pod default/gpt2-slice-0-3-abcde failed with exit code {}'
  ' matching FailJob rule at index {}'
)
BY_CONDITION = (
  'Pod default/gpt2-slice-0-3-abcde has condition DisruptionTarget matching FailJob'
  ' rule at index {}'
)


def action(code=None, disrupted=False, max_restarts=10):
  """Returns what the JobSet controller does after a pod has ended like this."""
  manifest = MANIFESTS['gke_v5e_4x4']
  (job,) = manifest['spec']['replicatedJobs']
  message, reason = (
    'Job has reached the specified backoff limit',
    'BackoffLimitExceeded',
  )
  for index, rule in enumerate(job['template']['spec']['podFailurePolicy']['rules']):
    if disrupted and 'onPodConditions' in rule:
      message, reason = BY_CONDITION.format(index), 'PodFailurePolicy'
      break
    if code in rule.get('onExitCodes', {}).get('values', []):
      message, reason = BY_EXIT.format(code, index), 'PodFailurePolicy'
      break
  for rule in manifest['spec']['failurePolicy']['rules']:
    patterns = rule['onJobFailureMessagePatterns']
    if reason in rule['onJobFailureReasons']:
      if any(re.search(pattern, message) for pattern in patterns):
        return rule['action']
  return 'RestartJobSet'


def test_what_another_start_cannot_mend_ends_the_run():
  kinds = (ConfigError, DataError, CheckpointError, StorageError, DivergedError)
  assert {action(kind.exit_code) for kind in kinds} == {'FailJobSet'}


def test_preemptions_restart_a_run_without_counting():
  assert action(Interrupted.exit_code) == 'RestartJobSetAndIgnoreMaxRestarts'
  assert action(137, disrupted=True) == 'RestartJobSetAndIgnoreMaxRestarts'


@pytest.mark.parametrize('code', [1, 134, 137, 139])
def test_crashes_restart_a_run_and_count(code):
  assert action(code) == 'RestartJobSet'


@pytest.mark.parametrize('topology', ['v5e:4x4', '2xv5e:16x16', '12xv5p:8x8x16'])
def test_names_of_pods_fit_however_long_the_run_is_called(topology):
  wanted = slices.parse(topology)
  name = jobset.name_of('a_study-' * 20, wanted)
  pod = f'{name}-slice-{wanted.count - 1}-{wanted.hosts - 1}-abcde'
  assert len(pod) <= dns_labels.MAX_LENGTH
  assert len(pod) == dns_labels.MAX_LENGTH or len(name) >= 1
  assert dns_labels.problem('--name', name, jobset.appended(wanted)) is None
  assert dns_labels.problem('--name', f'{name}xx', jobset.appended(wanted))


def test_kubernetes_leaves_dollar_signs_of_a_command_alone():
  manifest = jobset.manifest(
    'a', ('x', '$(HOME)'), slices.parse('v5e:1x1'), jobset.Settings(image='i')
  )
  (job,) = manifest['spec']['replicatedJobs']
  pod = job['template']['spec']['template']['spec']
  assert pod['containers'][0]['command'] == ['x', '$$(HOME)']


def test_one_host_needs_no_node_pool_of_its_own():
  manifest = jobset.manifest(
    'a', COMMAND, slices.parse('v5e:2x4'), jobset.Settings(image='i')
  )
  assert 'annotations' not in manifest['metadata']
  (job,) = manifest['spec']['replicatedJobs']
  assert job['template']['spec']['completions'] == 1
