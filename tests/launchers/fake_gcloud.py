"""A gcloud for tests: checks flags, answers and errs as the real one (SDK 528).

FAKE_GCLOUD is a folder. `resources.json` has the queued resources; each node of one has
a folder NODE/w-N for the home of each worker, where ssh runs its command with bash.
`calls` has each command line. What goes wrong is told by files:

  login         absent: nobody is logged in
  agent         absent: the key is not in the ssh agent
  NAME.story    the states that NAME goes through when it is described, a word each
  preempted     nodes that are gone, though their resource says ACTIVE
  cut           workers (NODE/w-N) whose next connection is cut after its first line

`test_fake_gcloud.py` compares it with the real one.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import sys

import fake_tpu_workers

FOLDER = pathlib.Path(os.environ['FAKE_GCLOUD'])
GROUP = ['compute', 'tpus', 'queued-resources']
STORY = ['WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE']
TIME = '2026-11-29T12:00:00.000000000Z'


class Refused(Exception):
  """(exit code, message) of a call."""


class Parser(argparse.ArgumentParser):
  def error(self, message):
    if missing := re.match(r'the following arguments are required: (.*)', message):
      message = f'argument {missing[1]}: Must be specified.'
    raise Refused(2, message)


def parser():
  root = Parser(prog='gcloud', allow_abbrev=False)
  verbs = root.add_subparsers(dest='verb', parser_class=Parser)
  common = Parser(add_help=False, allow_abbrev=False)
  for flag in ('--zone', '--project', '--format', '--account', '--verbosity'):
    common.add_argument(flag)
  common.add_argument('--quiet', action='store_true')

  def verb(name):
    return verbs.add_parser(name, parents=[common], allow_abbrev=False)

  create = verb('create')
  create.add_argument('name')
  for flag in (
    '--node-id', '--node-prefix', '--accelerator-type', '--topology', '--description',
    '--labels', '--metadata', '--metadata-from-file', '--network', '--range', '--tags',
    '--scopes', '--service-account', '--subnetwork', '--valid-after-duration',
    '--valid-after-time', '--valid-until-duration', '--valid-until-time',
    '--data-disk', '--boot-disk', '--reservation-host-folder',
    '--reservation-host-organization', '--reservation-host-project',
  ):  # fmt: skip
    create.add_argument(flag)
  create.add_argument('--type', choices=['v2', 'v3', 'v4'])
  create.add_argument('--node-count', type=int)
  create.add_argument('--runtime-version', required=True)
  for flag in (
    '--async', '--guaranteed', '--internal-ips', '--reserved', '--spot',
    '--shielded-secure-boot',
  ):  # fmt: skip
    create.add_argument(flag, action='store_true')
  verb('describe').add_argument('name')
  delete = verb('delete')
  delete.add_argument('name')
  delete.add_argument('--async', action='store_true')
  delete.add_argument('--force', action='store_true')
  for name, paths in (('ssh', ['name']), ('scp', ['sources', 'destination'])):
    reach = verb(name)
    for path in paths:
      reach.add_argument(path, nargs='+' if path == 'sources' else None)
    for flag in (
      '--ssh-key-file', '--strict-host-key-checking', '--ssh-key-expiration',
      '--ssh-key-expire-after',
    ):  # fmt: skip
      reach.add_argument(flag)
    for flag in ('--dry-run', '--force-key-file-overwrite', '--plain'):
      reach.add_argument(flag, action='store_true')
    reach.add_argument('--batch-size', default='64')
    reach.add_argument('--node', default='0')
    reach.add_argument('--worker', default='0')
    routing = reach.add_mutually_exclusive_group()
    routing.add_argument('--internal-ip', action='store_true')
    routing.add_argument('--tunnel-through-iap', action='store_true')
    if name == 'ssh':
      for flag in ('--command', '--output-directory', '--ssh-flag'):
        reach.add_argument(flag)
    else:
      reach.add_argument('--scp-flag')
      reach.add_argument('--recurse', action='store_true')
      reach.add_argument('--compress', action='store_true')
  return root


def main(argv):
  with open(FOLDER / 'calls', 'a') as file:
    file.write(json.dumps(argv) + '\n')
  verb = argv[3] if len(argv) > 3 else ''
  try:
    if argv[:3] != GROUP:
      raise Refused(2, f"Invalid choice: '{argv[0] if argv else ''}'.")
    args = parser().parse_args(argv[3:])
    return globals()[verb](args) or 0
  except Refused as refused:
    code, message = refused.args
    print(f'ERROR: (gcloud.{".".join(argv[:4])}) {message}', file=sys.stderr)
    return code


def create(args):
  def given(*flags):
    return [f for f in flags if getattr(args, f[2:].replace('-', '_')) is not None]

  _one_of(given, ['--node-id'], ['--node-count', '--node-prefix'])
  _one_of(given, ['--accelerator-type'], ['--type', '--topology'])
  parent = _parent(args)
  if args.node_count is not None and args.node_count <= 1:
    raise Refused(
      1, 'Invalid value for [--node-count]: Node count must be greater than 1'
    )
  resources = _resources()
  if args.name in resources:
    raise Refused(
      1,
      f"ALREADY_EXISTS: Resource '{parent}/queuedResources/{args.name}' already exists",
    )
  node = dict(
    networkConfig=dict(
      enableExternalIps=not args.internal_ips, network=args.network or 'default'
    ),
    runtimeVersion=args.runtime_version,
  )
  if args.accelerator_type:
    node['acceleratorType'] = args.accelerator_type.lower()
  else:
    node['acceleratorConfig'] = dict(topology=args.topology, type=args.type.upper())
  if args.subnetwork:
    node['networkConfig']['subnetwork'] = args.subnetwork
  account = args.service_account
  node['serviceAccount'] = dict(email=account) if account else {}
  spec = dict(node=node, parent=parent)
  if args.node_id:
    spec['nodeId'] = args.node_id
  else:
    spec['multisliceParams'] = dict(nodeCount=args.node_count)
    if args.node_prefix:
      spec['multisliceParams']['nodeIdPrefix'] = args.node_prefix
  resource = dict(
    createTime=TIME,
    name=f'{parent}/queuedResources/{args.name}',
    state=dict(state='ACCEPTED'),
    tpu=dict(nodeSpec=[spec]),
  )
  if args.spot:
    resource['spot'] = {}
  if args.reserved:
    resource['reservationName'] = f'{parent}/reservations/-'
  _save(resources | {args.name: resource})
  print(f'Create request issued for: [{args.name}]', file=sys.stderr)


def describe(args):
  resources = _resources()
  found = _found(resources, args)
  story = FOLDER / f'{args.name}.story'
  states = story.read_text().split() if story.exists() else list(STORY)
  before = found['state']['state']
  now = states[0]
  story.write_text(' '.join(states[1:] or states))
  found['state'] = dict(state=now)
  if now == 'FAILED':
    message = 'There is no more capacity in the zone "us-west4-a"; you can try another.'
    found['state']['failedData'] = dict(error=dict(code=8, message=message))
  if now == 'ACTIVE' and before != 'ACTIVE':
    fake_tpu_workers.make_nodes(found)
  if now in ('SUSPENDING', 'SUSPENDED'):
    fake_tpu_workers.remove_nodes(found)
  _save(resources | {args.name: found})
  print(json.dumps(found, indent=2))


def delete(args):
  resources = _resources()
  found = _found(resources, args)
  if found['state']['state'] == 'ACTIVE' and not args.force:
    raise Refused(
      1,
      f'FAILED_PRECONDITION: The queued resource {args.name} has nodes; delete them'
      ' first, or use force.',
    )
  fake_tpu_workers.remove_nodes(found)
  (FOLDER / f'{args.name}.story').unlink(missing_ok=True)
  (FOLDER / 'preempted').unlink(missing_ok=True)
  del resources[args.name]
  _save(resources)
  print(f'Deleted queued resource [{args.name}].', file=sys.stderr)


def ssh(args):
  workers = _workers(args.name, args)
  if len(workers) > 1 and not args.command:
    raise Refused(
      1,
      'Invalid value for [--worker]: cannot target multiple workers without the'
      ' `--command` flag.',
    )

  def run(number):
    return fake_tpu_workers.run(workers[number], args.command)

  return fake_tpu_workers.in_batches(workers, args, run)


def scp(args):
  name, colon, folder = args.destination.partition(':')
  if not colon:
    raise Refused(1, 'Source(s) must be remote when destination is local.')
  workers = _workers(name, args)
  if len(workers) > 1 and not (FOLDER / 'agent').exists():
    # Raised in the thread that prepares a node: the node is left out, and that is all.
    print(
      'SSH Key is not present in the SSH agent. Please run "ssh-add'
      ' ~/.ssh/google_compute_engine" to add it, and try again.',
      file=sys.stderr,
    )
    workers = []

  def copy(number):
    for source in args.sources:
      if not os.path.isfile(source):
        return 1
      shutil.copy(source, workers[number] / folder)
    return 0

  return fake_tpu_workers.in_batches(workers, args, copy)


def _workers(name, args):
  """Returns the homes of the workers that flags choose, of nodes that are there."""
  args.name = name
  found = _found(_resources(), args)
  nodes = _chosen('node', args.node, found['tpu']['nodeSpec'])
  homes, prepared = [], 0
  for node in nodes:
    folder = FOLDER / node['nodeId']
    if found['state']['state'] != 'ACTIVE' or fake_tpu_workers.is_preempted(
      node['nodeId']
    ):
      print(
        'This TPU has terminal state "PREEMPTED", so it cannot be used anymore.',
        file=sys.stderr,
      )
      continue
    prepared += 1
    every = sorted(folder.iterdir(), key=lambda path: int(path.name[2:]))
    homes += _chosen('worker', args.worker, every)
  if prepared < len(nodes):
    print(
      f'WARNING: Could not prepare all {len(nodes)} nodes, attempting to ssh into the'
      ' rest.',
      file=sys.stderr,
    )
  return homes


def _chosen(flag, text, every):
  if text.upper() == 'ALL':
    return list(every)
  if not text.isdecimal():
    raise Refused(
      1, f'Invalid value for [--{flag}]: unable to parse {flag} ID {text}. Please only'
      ' use numbers.'
    )  # fmt: skip
  if int(text) >= len(every):
    raise Refused(
      1, f'Invalid value for [--{flag}]: {flag} index {text} is larger than the valid'
      f' {flag} indices'
    )  # fmt: skip
  return [every[int(text)]]


def _found(resources, args):
  parent = _parent(args)
  if args.name not in resources:
    raise Refused(
      1, f"NOT_FOUND: Resource '{parent}/queuedResources/{args.name}' was not found"
    )
  return resources[args.name]


def _parent(args):
  zone = args.zone or os.environ.get('CLOUDSDK_COMPUTE_ZONE')
  project = args.project or os.environ.get('CLOUDSDK_CORE_PROJECT')
  if args.verb in ('ssh', 'scp') and not zone:
    raise Refused(1, 'The required property [compute/zone] is not currently set.')
  if not zone or not project:
    missing = 'zone' if not zone else 'project'
    raise Refused(
      1,
      'Error parsing [queued_resource].\nThe [queued_resource] resource is not properly'
      f' specified.\nFailed to find attribute [{missing}].',
    )
  if not (FOLDER / 'login').exists():
    raise Refused(
      1,
      'You do not currently have an active account selected.\nPlease run:\n\n'
      '  $ gcloud auth login\n\nto obtain new credentials.',
    )
  return f'projects/{project}/locations/{zone}'


def _one_of(given, *groups):
  found = [group for group in groups if given(*group)]
  if len(found) != 1:
    shown = ' | '.join(' '.join(group) for group in groups)
    raise Refused(2, f'argument ({shown}): Exactly one of ({shown}) must be specified.')


def _resources():
  path = FOLDER / 'resources.json'
  return json.loads(path.read_text()) if path.exists() else {}


def _save(resources):
  (FOLDER / 'resources.json').write_text(json.dumps(resources))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
