"""GKE: kubectl creates a JobSet, which starts a pod on each host of each TPU slice.

The image has the code (launch/Dockerfile makes one); what a crash, a preemption and a
mistake do is in the JobSet itself (`jobset`), so that nobody has to wait here for it.
"""

import pathlib
import re
import shlex

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.launchers import (
  cloud_flags,
  code_archive,
  dns_labels,
  jobset,
  jobset_progress,
  slices,
  steps,
)

HAS_OUR_FOLDERS = False
NEED_TPUS = ('train', 'sweep')
"""Commands that nobody starts on a cluster for its CPUs; prepare runs there."""
QUANTITIES = {
  'cpu': (r'\d+(\.\d+|m)?', 'cores, such as 8 or 500m'),
  'memory': (r'\d+(\.\d+)?([KMGTPE]i?)?', 'bytes, such as 32Gi'),
}
"""Flag -> what Kubernetes can read, and an example."""
KUBECTL = (
  "install the Debian package kubernetes-client, or Google's packages kubectl and"
  ' google-cloud-cli-gke-gcloud-auth-plugin'
)


def add_arguments(group):
  """Adds the flags that only this place has, and those of Google Cloud."""
  group.description = 'also: --spot, --service_account'
  group.add_argument(
    '--image', default='', metavar='IMAGE', help='of a container with gpt-jax and jax'
  )
  group.add_argument(
    '--namespace', default='', metavar='NAME', help='default: that of the context'
  )
  group.add_argument(
    '--context',
    default='',
    metavar='NAME',
    help="kubectl's name of the cluster; default: its current one",
  )
  group.add_argument(
    '--queue',
    default='',
    metavar='NAME',
    help='a LocalQueue of Kueue, which starts the run when there is quota for it',
  )
  group.add_argument(
    '--priority', default='', metavar='NAME', help='a WorkloadPriorityClass of Kueue'
  )
  group.add_argument(
    '--reservation', default='', metavar='NAME', help='of TPUs, for this project'
  )
  group.add_argument('--cpu', default='', metavar='N', help='cores that a pod requests')
  group.add_argument(
    '--memory', default='', metavar='SIZE', help='that a pod requests, such as 32Gi'
  )
  group.add_argument(
    '--grace_seconds',
    type=int,
    default=0,
    metavar='S',
    help='from SIGTERM to SIGKILL, for the last save; default: 300, with --spot 25',
  )
  cloud_flags.add_arguments(group)


def problems(description, args):
  """Returns what is wrong with the flags, a line each."""
  found = []
  if not args.image:
    found.append(
      '--image is missing: a container with gpt-jax, such as'
      ' REGION-docker.pkg.dev/PROJECT/REPOSITORY/gpt-jax:COMMIT (launch/Dockerfile).'
    )
  wanted = None
  try:
    wanted = _slices(description)
  except ConfigError as error:
    found.append(str(error))
  if args.name:
    appended = jobset.appended(wanted) * (not description.tasks)
    wrong = dns_labels.problem('--name', args.name, appended)
    found += [f'{wrong}.'] * (wrong is not None)
  for flag in ('namespace', 'queue', 'priority'):
    value = getattr(args, flag)
    if value and (wrong := dns_labels.problem(f'--{flag}', value)):
      found.append(f'{wrong}.')
  if args.spot and args.reservation:
    found.append(
      f'--spot and --reservation={args.reservation}: reserved TPUs are no Spot VMs;'
      ' leave one of them out.'
    )
  for flag, (pattern, example) in QUANTITIES.items():
    value = getattr(args, flag)
    if value and not re.fullmatch(pattern, value):
      found.append(f'--{flag}={value}: expected {example}.')
  if args.grace_seconds < 0:
    found.append(f'--grace_seconds={args.grace_seconds}: expected 0 or more.')
  workdir = description.workdir
  if workdir is not None and '://' not in workdir:
    found.append(
      f'--workdir={workdir}: the disk of a pod is gone with it; give a bucket, such as'
      f' gs://BUCKET/{pathlib.PurePath(workdir).name}.'
    )
  if description.tasks and len(description.waves()) > 1 and not args.wait:
    needing = next(task for task in description.tasks if task.needs)
    found.append(
      f'--wait is missing: {needing.name} needs {needing.needs[0]}, and somebody has to'
      ' start it when that has ended.'
    )
  if args.log_dir:
    found.append(
      f'--log_dir={args.log_dir}: pods have no folder of yours; kubectl logs has their'
      ' output.'
    )
  if description.at_once:
    found.append(
      f'--at_once={description.at_once}: a cluster has no such limit by itself;'
      ' give it with the quota of a Kueue queue, --queue=NAME.'
    )
  if not args.dry_run:
    found += steps.missing_programs(('kubectl',), args.where, KUBECTL)
  return found


def num_processes(description, args):
  """Returns how many processes a task has: one on each host of each slice."""
  wanted = _slices(description)
  return wanted.count * wanted.hosts if wanted else 1


def num_devices(description, args):
  """Returns how many devices jax sees in a task; None without TPUs."""
  wanted = _slices(description)
  return wanted.num_devices if wanted else None


def dry_run(description, args):
  """Returns the calls of kubectl, each with its manifest."""
  return steps.shown(
    _create(wave, args) for wave in _waves(description, args)
  ) + '\n'.join(['', *_notes(description, args)])


def launch(description, args):
  """Returns 0 once the JobSets are created, with --wait the exit code of the run."""
  failed = {}
  for wave in _waves(description, args):
    _submit(wave, args)
    if not args.wait:
      continue
    for manifest in wave:
      name = manifest['metadata']['name']
      code = jobset_progress.follow(name, _kubectl(args), show_log=len(wave) == 1)
      if code:
        failed[name] = code
    if failed:  # what comes after may need what has failed
      break
  if not args.wait:
    print('\n'.join(_notes(description, args)))
  for name, code in failed.items():
    jobset_progress.say(f'{name} ended with exit code {code}')
  return max(failed.values(), default=0)


def _submit(wave, args):
  create = _create(wave, args)
  # The cluster's own checks for all of them, before the first is created.
  try:
    checked = steps.Call((*create.words, '--dry-run=server'), create.stdin)
    steps.take(checked)
    print(steps.take(create))
  except UserError as error:
    names = ' '.join(manifest['metadata']['name'] for manifest in wave)
    if 'AlreadyExists' in str(error):
      delete = shlex.join([*_kubectl(args), 'delete', 'jobset', *names.split()])
      error.add_note(f'To replace it: {delete}; or give another --name.')
    if 'no matches for kind "JobSet"' in str(error):
      error.add_note(
        'The cluster has no JobSet controller; its installation is on'
        ' jobset.sigs.k8s.io/docs/installation.'
      )
    raise


def _create(wave, args):
  import yaml

  text = yaml.safe_dump_all(wave, sort_keys=False, width=88)
  return steps.Call((*_kubectl(args), 'create', '--filename=-'), text)


def _kubectl(args):
  words = ['kubectl']
  if args.context:
    words.append(f'--context={args.context}')
  if args.namespace:
    words.append(f'--namespace={args.namespace}')
  return tuple(words)


def _waves(description, args):
  """Returns lists of manifests: those of one need those of the lists before it."""
  if not description.tasks:
    return [[manifest(description, args)]]
  return [
    [manifest(description.of(task), args) for task in wave]
    for wave in description.waves()
  ]


def manifest(description, args):
  """Returns the JobSet of a Description of one run."""
  wanted = _slices(description)
  command = description.command
  if checkout := code_archive.checkout_of():  # its root is the folder of the image
    command = checkout.portable(command, checkout.root)
  settings = jobset.Settings(
    image=args.image,
    namespace=args.namespace,
    queue=args.queue,
    priority=args.priority,
    service_account=args.service_account,
    reservation=args.reservation,
    spot=args.spot,
    cpu=args.cpu,
    memory=args.memory,
    max_restarts=args.max_restarts,
    grace_seconds=args.grace_seconds,
  )
  return jobset.manifest(
    jobset.name_of(description.name, wanted),
    ('gpt-jax', *command),
    wanted,
    settings,
    description.environment,
  )


def _slices(description):
  """Returns the Slices of a Description; None for one pod without TPUs."""
  if description.topology:
    return slices.parse(description.topology, description.nodes)
  if description.command[0] in NEED_TPUS:
    raise ConfigError('--topology is missing; give one, such as v5e:4x4 (2xv5e:4x4).')
  if description.nodes > 1:
    raise ConfigError(
      f'--nodes={description.nodes}: slices of TPUs, and --topology is missing. Without'
      ' TPUs a command has one pod: leave --nodes out; of prepare, --shards='
      f'{description.nodes} makes several.'
    )
  return None


def _notes(description, args):
  """Returns comment lines: what to call next."""
  names = [
    manifest['metadata']['name']
    for wave in _waves(description, args)
    for manifest in wave
  ]
  kubectl = shlex.join(_kubectl(args))
  first = f'{jobset_progress.SELECTOR}={names[0]}'
  return [
    f'# how it is:  {kubectl} get jobset {" ".join(names)}',
    f'# its output: {kubectl} logs --follow --selector={first} --prefix',
    f'# to end it:  {kubectl} delete jobset {" ".join(names)}',
  ]
