"""Workers of the fake TPU VMs: folders, in which commands run with bash."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

FOLDER = pathlib.Path(os.environ['FAKE_GCLOUD'])


def in_batches(workers, args, act):
  """Returns the exit code of `act` on all workers, a batch after the other."""
  size = len(workers) if args.batch_size == 'all' else int(args.batch_size)
  codes = {}
  for start in range(0, len(workers), size or 1):
    batch = [
      threading.Thread(target=lambda n=n: codes.update({n: act(n)}))
      for n in range(start, min(start + size, len(workers)))
    ]
    for thread in batch:
      thread.start()
    for thread in batch:
      thread.join()
    for number, code in sorted(codes.items()):
      if code:
        print(
          f'##### Command execution on worker {number} failed with exit status {code}.'
          ' Continuing.',
          file=sys.stderr,
        )
    if failed := [code for _, code in sorted(codes.items()) if code]:
      return failed[0]
  return 0


def run(home, command):
  """Returns the exit code of a command on a worker; cut connections are tried again."""
  name = f'{home.parent.name}-{home.name}'
  variables = os.environ | dict(
    HOME=str(home),
    WORKER=name,
    PATH=f'{FOLDER / "worker_bin"}{os.pathsep}{os.environ["PATH"]}',
  )
  for _ in range(10):
    process = subprocess.Popen(
      ['bash', '-c', command],
      env=variables,
      cwd=home,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    threading.Thread(target=_take_away, args=[process, home], daemon=True).start()
    is_cut = False
    for line in process.stdout:
      sys.stdout.buffer.write(line)
      sys.stdout.buffer.flush()
      if _is_cut(f'{home.parent.name}/{home.name}'):
        is_cut = True
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    if is_preempted(home.parent.name):
      return 255
    if not is_cut:
      return code
    print('Retrying: SSH command error: [/usr/bin/ssh] exited with return code [255].',
          file=sys.stderr)  # fmt: skip
    time.sleep(0.1)
  return 255


def _take_away(process, home):
  """Ends a connection and what runs at its other end once the node is preempted."""
  while process.poll() is None:
    if is_preempted(home.parent.name):
      _end_run(home)
      os.killpg(process.pid, signal.SIGKILL)
      return
    time.sleep(0.05)


def is_preempted(node):
  path = FOLDER / 'preempted'
  return path.exists() and node in path.read_text().split()


def _end_run(home):
  for path in home.glob('gpt_jax/runs/*/pid'):
    try:
      os.killpg(os.getpgid(int(path.read_text())), signal.SIGKILL)
    except (ProcessLookupError, ValueError):
      pass


def _is_cut(worker):
  path = FOLDER / 'cut'
  workers = path.read_text().split() if path.exists() else []
  if worker in workers:
    workers.remove(worker)
    path.write_text(' '.join(workers))
    return True
  return False


def make_nodes(resource):
  """Makes a folder for each worker, and gives each node of several its own spec."""
  (spec, *_) = resource['tpu']['nodeSpec']
  several = spec.get('multisliceParams')
  name = resource['name'].rsplit('/')[-1]
  if several:
    prefix = several.get('nodeIdPrefix', name)
    ids = [f'{prefix}-{number}' for number in range(several['nodeCount'])]
  else:
    ids = [spec['nodeId']]
  resource['tpu']['nodeSpec'] = [
    {key: value for key, value in spec.items() if key != 'multisliceParams'}
    | dict(nodeId=node)
    for node in ids
  ]
  kind, _, number = spec['node'].get('acceleratorType', 'v4-8').partition('-')
  chips = int(number) // (2 if kind in ('v4', 'v5p') else 1)
  hosts = 1 if chips <= 8 and kind not in ('v4', 'v5p') else -(-chips // 4)
  for node in ids:
    for worker in range(hosts):
      (FOLDER / node / f'w-{worker}').mkdir(parents=True)


def remove_nodes(resource):
  """Ends what runs on the workers of a resource, and removes their disks."""
  for spec in resource['tpu']['nodeSpec']:
    folder = FOLDER / spec.get('nodeId', '-')
    for home in folder.glob('w-*') if folder.exists() else ():
      _end_run(home)
    shutil.rmtree(folder, ignore_errors=True)
