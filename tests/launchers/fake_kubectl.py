"""A kubectl for tests: checks its flags, keeps JobSets, answers as the real one.

FAKE_KUBECTL is a folder: `objects.json` has what was created, `calls` each command
line, `story.json` the states of a JobSet, one for each time that it is asked for.
"""

import argparse
import json
import os
import pathlib
import sys

FOLDER = pathlib.Path(os.environ['FAKE_KUBECTL'])


def main(argv):
  with open(FOLDER / 'calls', 'a') as file:
    file.write(json.dumps(argv) + '\n')
  parser = argparse.ArgumentParser(prog='kubectl', allow_abbrev=False)
  parser.add_argument('--context')
  parser.add_argument('--namespace', default='default')
  commands = parser.add_subparsers(dest='command', required=True)
  create = commands.add_parser('create', allow_abbrev=False)
  create.add_argument('--filename', required=True, choices=['-'])
  create.add_argument('--dry-run', choices=['none', 'server', 'client'], default='none')
  get = commands.add_parser('get', allow_abbrev=False)
  get.add_argument('kind', choices=['jobset', 'pods'])
  get.add_argument('name', nargs='?')
  get.add_argument('--selector', default='')
  get.add_argument('--output', choices=['json'])
  logs = commands.add_parser('logs', allow_abbrev=False)
  logs.add_argument('--follow', action='store_true')
  logs.add_argument('--selector', required=True)
  logs.add_argument('--container', required=True)
  logs.add_argument('--tail', type=int, required=True)
  args = parser.parse_args(argv)
  return globals()[args.command](args)


def create(args):
  import yaml

  objects = _read('objects.json', {})
  for manifest in yaml.safe_load_all(sys.stdin):
    name = manifest['metadata']['name']
    if name in objects:
      return _error(
        f'Error from server (AlreadyExists): error when creating "STDIN":'
        f' jobsets.jobset.x-k8s.io "{name}" already exists'
      )
    mode = ' (server dry run)' if args.dry_run == 'server' else ''
    print(f'jobset.jobset.x-k8s.io/{name} created{mode}')
    objects[name] = manifest
  if args.dry_run == 'none':
    (FOLDER / 'objects.json').write_text(json.dumps(objects))
  return 0


def get(args):
  if args.kind == 'pods':
    print(json.dumps(dict(items=_read('pods.json', []))))
    return 0
  objects = _read('objects.json', {})
  if args.name not in objects:
    return _error(
      f'Error from server (NotFound): jobsets.jobset.x-k8s.io "{args.name}" not found'
    )
  story = _read('story.json', [{}])
  (FOLDER / 'story.json').write_text(json.dumps(story[1:] or story))
  print(json.dumps(objects[args.name] | dict(status=story[0])))
  return 0


def logs(args):
  print('output of the first pod')
  return 0


def _read(name, default):
  path = FOLDER / name
  return json.loads(path.read_text()) if path.exists() else default


def _error(text):
  print(text, file=sys.stderr)
  return 1


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
