"""TPU VMs: gcloud asks for slices, copies the code at its commit, starts it on all.

With --wait the output is shown, a preempted slice is asked for anew and the run starts
again on it; at the end the machines that this command asked for are given back.
"""

import dataclasses
import functools
import os
import pathlib
import tempfile
import time

from gpt_jax.core.errors import ConfigError
from gpt_jax.launchers import (
  cloud_flags,
  code_archive,
  dns_labels,
  queued_resource,
  slices,
  steps,
  tpu_script,
  tpu_supervision,
)
from gpt_jax.launchers.processes import say
from gpt_jax.launchers.tpu_workers import Workers

GCLOUD = "install Google's package google-cloud-cli (cloud.google.com/sdk/docs/install)"
HAS_OUR_FOLDERS = False
DELETE = ('created', 'always', 'never')


def add_arguments(group):
  """Adds the flags that only this place has, and those of Google Cloud."""
  group.description = 'also: --spot, --service_account'
  group.add_argument('--zone', default='', metavar='ZONE', help="default: gcloud's")
  group.add_argument('--project', default='', metavar='ID', help="default: gcloud's")
  group.add_argument(
    '--runtime_version',
    default='',
    metavar='NAME',
    help='software of the machines; default: the one for jax on this chip',
  )
  group.add_argument('--network', default='', metavar='NAME', help="default: 'default'")
  group.add_argument('--subnetwork', default='', metavar='NAME')
  group.add_argument(
    '--reserved', action='store_true', help='machines of a reservation of the project'
  )
  group.add_argument(
    '--internal_ips',
    action='store_true',
    help='machines that are reached from the network alone, and by gcloud through'
    ' Identity-Aware Proxy',
  )
  group.add_argument(
    '--delete',
    choices=DELETE,
    default='created',
    help='after --wait: the machines that this command asked for (created, the'
    ' default), also those that were there (always), or none (never)',
  )
  cloud_flags.add_arguments(group)


def problems(description, args):
  """Returns what is wrong with the flags, a line each."""
  found = []
  try:
    found += _topology_problems(slices_of(description))
  except ConfigError as error:
    found.append(str(error))
  if args.name:
    wrong = dns_labels.problem('--name', args.name)
    found += [f'{wrong}.'] * (wrong is not None)
  if args.spot and args.reserved:
    found.append('--spot and --reserved: reserved TPUs are no Spot VMs; leave one out.')
  if args.log_dir:
    found.append(
      f'--log_dir={args.log_dir}: each worker has its log on its own disk; --wait shows'
      ' them all.'
    )
  if description.at_once > 1:
    found.append(
      f'--at_once={description.at_once}: the points run one after another on the'
      ' same machines; start the sweep several times, with other names, for more.'
    )
  if description.tasks and not args.wait:
    found.append('--wait is missing: a sweep starts each point when another has ended.')
  found += _code_problems(description)
  if not args.dry_run:
    found += steps.missing_programs(('git',), args.where, 'apt install git')
    found += steps.missing_programs(('gcloud',), args.where, GCLOUD)
  return found


def _code_problems(description):
  checkout = code_archive.checkout_of()
  if checkout is None:
    return [
      f'{code_archive.CODE}: the code is copied at its commit, and this is no checkout'
      ' of git; clone the repository and install it with pip install --editable .'
    ]
  found = checkout.problems(description.command, description.folder)
  workdir = description.workdir
  if workdir is not None and '://' not in workdir:
    path = pathlib.Path(workdir)
    if not path.is_absolute() or path.is_relative_to(checkout.root):
      found.append(
        f'--workdir={workdir}: the disk of each host is its own, and gone with it; give'
        f' a bucket, such as gs://BUCKET/{path.name}, or a folder that all hosts mount.'
      )
  return found


def _topology_problems(wanted):
  if not wanted.kind.prefix:
    return [
      f'--topology={wanted.name}: TPU VMs have no {wanted.chip}; --where=gke has.'
    ]
  if not wanted.kind.any_shape and wanted.shape not in wanted.kind.shapes:
    return [
      f'--topology={wanted.name}: gcloud can ask for {wanted.chip} by the number of its'
      f' chips alone, and gets {", ".join(wanted.kind.shapes)}; --where=gke has others.'
    ]
  return []


def num_processes(description, args):
  """Returns how many processes a task has: one on each host of each slice."""
  wanted = slices_of(description)
  return wanted.count * wanted.hosts


def num_devices(description, args):
  """Returns how many devices jax sees in a task."""
  return slices_of(description).num_devices


def dry_run(description, args):
  """Returns the calls of gcloud and what workers are told, in their order."""
  run = _Launch(description, args)
  archive = run.archive()
  digest = run.checkout.digest()
  text = [
    run.checkout.archive(archive),
    '# where it is not there:',
    run.request.describe(),
    run.request.create(),
    f'# every {queued_resource.POLL_SECONDS:g} s until it is ACTIVE:',
    run.request.describe(),
    '# once for these machines:',
    run.workers(run.runs()[next(iter(run.runs()))][0]).copy(archive),
  ]
  for task, _ in run.runs().values():
    workers = run.workers(task)
    script = run.script_path(task)
    text += [
      steps.Write(script, tpu_script.script(task, os.path.basename(archive), digest)),
      workers.copy(script),
      workers.tell('install'),
      workers.tell('status'),
      '# where it runs on some of the workers alone:',
      workers.tell('stop'),
      '# where it does not run, with another word for each start:',
      workers.tell('start', '1'),
    ]
    text += [workers.tell('follow')] * args.wait
  if args.wait and args.delete != 'never':
    text += ['# where this command has created it:'] * (args.delete == 'created')
    text.append(run.request.delete())
  return steps.shown(text)


def launch(description, args):
  """Returns 0 once the run is started; with --wait its exit code."""
  run = _Launch(description, args)
  try:
    code = run.start_all()
  except BaseException:
    if run.has_created:
      say(f'{run.request.name} is there; to give it back: {run.delete_words()}')
    raise
  if not args.wait:
    say('it goes on by itself; the same command with --wait shows its output,')
    say(f'and starts it again where it is preempted. To end it: {run.delete_words()}')
    return 0
  if args.delete == 'always' or (args.delete == 'created' and run.has_created):
    say(f'giving {run.request.name} back')
    queued_resource.take(run.request.delete())
  else:
    say(f'{run.request.name} is kept; to give it back: {run.delete_words()}')
  return code


def slices_of(description):
  """Returns the Slices of a Description; raises ConfigError."""
  if not description.topology:
    raise ConfigError('--topology is missing; give one, such as v5e:4x4 (2xv5e:4x4).')
  return slices.parse(description.topology, description.nodes)


class _Launch:
  """A Description and flags, turned into what is asked for, copied and started."""

  def __init__(self, description, args):
    self._args = args
    checkout = code_archive.checkout_of()
    assert checkout is not None, 'problems() has asked for one'
    self.checkout = checkout
    name = dns_labels.label(description.name)
    self._description = dataclasses.replace(
      description,
      name=name,
      command=checkout.portable(description.command, description.folder),
      commit=checkout.commit,
      folder=checkout.relative(description.folder),
    )
    self.request = queued_resource.Request(
      name=name,
      slices=slices_of(description),
      zone=args.zone,
      project=args.project,
      runtime=args.runtime_version,
      service_account=args.service_account,
      network=args.network,
      subnetwork=args.subnetwork,
      spot=args.spot,
      reserved=args.reserved,
      internal_ips=args.internal_ips,
    )
    self.has_created = False
    self._has_copied = False  # the code, to the machines that are there now

  def runs(self):
    """Returns {name: (Description, names that it needs)}, in an order that can run."""
    if not self._description.tasks:
      return {self._description.name: (self._description, ())}
    labels = {
      task.name: dns_labels.label(self._description.of(task).name)
      for task in self._description.tasks
    }
    return {
      labels[task.name]: (
        dataclasses.replace(self._description.of(task), name=labels[task.name]),
        tuple(labels[name] for name in task.needs),
      )
      for wave in self._description.waves()
      for task in wave
    }

  def workers(self, task):
    connection = ('--tunnel-through-iap',) if self._args.internal_ips else ()
    return Workers(self.request, task.name, task.commit, connection)

  def archive(self):
    folder = tempfile.gettempdir()
    return os.path.join(folder, f'gpt-jax-{self.checkout.commit[:12]}.tar.gz')

  def script_path(self, task):
    return os.path.join(tempfile.gettempdir(), self.workers(task).script_name)

  def delete_words(self):
    return str(self.request.delete())

  def start_all(self):
    """Returns the exit code of the run; of a sweep, the highest of its points."""
    codes = {}
    for name, (task, needs) in self.runs().items():
      if missing := [needed for needed in needs if codes.get(needed, 1)]:
        say(f'not run: {name}, which needs {", ".join(missing)}')
        continue
      codes[name], was_asked = tpu_supervision.run(
        prepare=functools.partial(self._prepare, task),
        workers=self.workers(task),
        max_restarts=self._args.max_restarts,
        wait=self._args.wait,
      )
      if codes[name]:
        say(f'{name} ended with exit code {codes[name]}')
      if was_asked:
        break
    return max(codes.values(), default=0)

  def _on_create(self):
    self.has_created, self._has_copied = True, False

  def _prepare(self, task):
    """Has machines that are there, with the code and the script of `task`."""
    queued_resource.ready(self.request, self._on_create)
    workers, archive = self.workers(task), self.archive()
    steps.take(self.checkout.archive(archive))
    if not self._has_copied:
      workers.send(archive)
      self._has_copied = True
    script = self.script_path(task)
    digest = self.checkout.digest()
    text = tpu_script.script(task, os.path.basename(archive), digest)
    steps.take(steps.Write(script, text))
    workers.send(script)
    started = time.monotonic()
    workers.require('install')
    say(f'commit {task.commit[:12]} is installed ({time.monotonic() - started:.0f} s)')
