"""TPU slices as a queued resource of Google Cloud: asked for, waited for, given back.

gcloud is called with the flags of its stable track, and its answers are read as JSON.
Source: cloud.google.com/tpu/docs/queued-resources, and the reference of
`gcloud compute tpus queued-resources`.
"""

import dataclasses
import json
import re
import time

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.launchers import steps
from gpt_jax.launchers.processes import say
from gpt_jax.launchers.slices import Slices

GROUP = ('gcloud', 'compute', 'tpus', 'queued-resources')
POLL_SECONDS = 30.0
OVER = {'SUSPENDED', 'FAILED'}
"""States that nothing follows: the name is free when the resource is deleted. A slice
that is preempted is SUSPENDING, then SUSPENDED. All others but ACTIVE are waited in."""

# What gcloud and the API say, and the way out.
_WAYS_OUT = {
  'active account selected|reauthentication|invalid_grant': 'run: gcloud auth login',
  r'property \[(core/)?project\]|resource \[project\]': 'give --project=PROJECT',
  r'property \[compute/zone\]|value for \[--zone\]': 'give --zone=ZONE',
  'SERVICE_DISABLED|API has not been used': (
    'run: gcloud services enable tpu.googleapis.com'
  ),
  'PERMISSION_DENIED|permission': (
    'ask the owner of the project for the role TPU Admin (roles/tpu.admin)'
  ),
  'RESOURCE_EXHAUSTED|[Qq]uota': (
    'ask for quota of this chip in this zone, or try another --zone or --spot'
  ),
  'SSH agent': (
    'gcloud needs the key in the agent to reach several workers: eval $(ssh-agent);'
    ' ssh-add ~/.ssh/google_compute_engine'
  ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What is asked for; '' leaves a flag to gcloud's own settings."""

  name: str
  slices: Slices
  zone: str = ''
  project: str = ''
  runtime: str = ''  # '': the one of the chip
  service_account: str = ''
  network: str = ''
  subnetwork: str = ''
  spot: bool = False
  reserved: bool = False
  internal_ips: bool = False

  def where(self):
    """Returns the flags that every call has."""
    settings = {'--zone': self.zone, '--project': self.project}
    return [f'{flag}={value}' for flag, value in settings.items() if value]

  def call(self, verb, *words):
    """Returns the call of gcloud that does `verb` to this resource."""
    return steps.Call((*GROUP, verb, self.name, *self.where(), *words))

  def describe(self):
    return self.call('describe', '--format=json')

  def create(self):
    """Returns the call that puts the request into the queue, and does not wait."""
    slices = self.slices
    words = [f'--runtime-version={self.runtime or slices.kind.runtime}']
    if slices.kind.any_shape:
      words += [f'--type={slices.chip}', f'--topology={slices.shape}']
    else:
      words.append(f'--accelerator-type={slices.accelerator_type}')
    if slices.count > 1:
      words += [f'--node-count={slices.count}', f'--node-prefix={self.name}']
    else:
      words.append(f'--node-id={self.name}')
    texts = {
      '--service-account': self.service_account,
      '--network': self.network,
      '--subnetwork': self.subnetwork,
    }
    words += [f'{flag}={value}' for flag, value in texts.items() if value]
    switches = {
      '--spot': self.spot,
      '--reserved': self.reserved,
      '--internal-ips': self.internal_ips,
    }
    words += [flag for flag, is_on in switches.items() if is_on]
    return self.call('create', *words, '--async', '--quiet')

  def delete(self):
    """Returns the call that gives the machines back, and waits for it."""
    return self.call('delete', '--force', '--quiet')


def state(request):
  """Returns (state, the resource as gcloud describes it); (None, {}): absent."""
  try:
    found = json.loads(take(request.describe()))
  except UserError as error:
    if 'NOT_FOUND' in str(error):
      return None, {}
    raise
  return found['state']['state'], found


def ready(request, on_create, sleep=time.sleep):
  """Returns once the machines of `request` are there; `on_create()` where it asks anew.

  Raises ConfigError where a resource of this name is another one, and UserError where
  the request fails.
  """
  created, before = False, None
  while True:
    now, found = state(request)
    if now is not None:
      _require_same(request, found)
    if now == 'ACTIVE':
      say(
        f'{request.name}: {request.slices.name} is there' + ' already' * (not created)
      )
      return
    if now != before and now is not None:
      say(f'{request.name} is {now}' + _reason(found))
    if now in OVER:
      if created and now == 'FAILED':
        take(request.delete())
        raise UserError(f'{request.name}: the request has failed{_reason(found)}.')
      say(f'deleting {request.name}, to ask for it anew')
      take(request.delete())
      now = None
    if now is None:
      take(request.create())
      on_create()
      say(f'asked for {request.slices.name} as {request.name}')
      created = True
    before = now
    sleep(POLL_SECONDS)


def is_active(request):
  """Returns whether the machines are there, and not being taken away."""
  return state(request)[0] == 'ACTIVE'


def take(call):
  """Returns what a call of gcloud prints; errors are told with a way out."""
  try:
    return steps.take(call)
  except UserError as error:
    add_way_out(error)
    raise


def add_way_out(error):
  """Adds what can be done about an error of gcloud, where that is known."""
  for pattern, way_out in _WAYS_OUT.items():
    if re.search(pattern, str(error)):
      error.add_note(f'To go on: {way_out}.')
      return


def _reason(found):
  """Returns the message of a failed request, to be put after its name."""
  error = found['state'].get('failedData', {}).get('error', {})
  return f': {error["message"].rstrip(".")}' if error.get('message') else ''


def _require_same(request, found):
  """Raises ConfigError where the resource that exists is not what is asked for."""
  specs = found['tpu']['nodeSpec']
  node = specs[0]['node']
  count = specs[0].get('multisliceParams', {}).get('nodeCount', len(specs))
  config = node.get('acceleratorConfig')
  wanted = {'slices': request.slices.count, 'spot': request.spot}
  there = {'slices': count, 'spot': 'spot' in found}
  if config and request.slices.kind.any_shape:
    wanted['topology'] = f'{request.slices.chip}:{request.slices.shape}'
    there['topology'] = f'{config["type"].lower()}:{config["topology"]}'
  else:
    wanted['accelerator type'] = request.slices.accelerator_type
    there['accelerator type'] = node.get('acceleratorType')
  if request.runtime:
    wanted['runtime version'] = request.runtime
    there['runtime version'] = node.get('runtimeVersion')
  for name, value in wanted.items():
    if value != there[name]:
      raise ConfigError(
        f'--name={request.name}: a queued resource of this name is there with'
        f' {name} {there[name]}, and {value} is asked for; give another name, or delete'
        f' it: {request.delete()}'
      )
