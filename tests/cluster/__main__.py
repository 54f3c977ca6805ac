"""python -m tests.cluster [flags of pytest]: starts the servers, tests, ends them.

Ends with pytest's exit code, and with 0 where nothing could be installed, saying why.
"""

import pathlib
import signal
import subprocess
import sys
import tempfile

from tests.cluster import bucket, servers, slurm


def main(flags):
  """Returns the exit code of the tests marked `cluster`."""
  signal.signal(
    signal.SIGTERM, lambda *_: sys.exit(143)
  )  # `finally` below has its turn
  reasons = [why for why in (slurm.install(), bucket.why_not()) if why]
  if why := '; '.join(reasons):
    print(f'make cluster: skipped, {why}')
    return 0
  with tempfile.TemporaryDirectory(prefix='gpt_jax_cluster_') as folder:
    folder = pathlib.Path(folder)
    cluster, emulator = slurm.Cluster(folder / 'slurm'), None
    try:
      emulator = bucket.start(folder / 'bucket.log')
      cluster.start()
      print(slurm.call('sinfo'))
      words = [sys.executable, '-m', 'pytest', '-m', 'cluster', '-n', '0', *flags]
      return subprocess.run(words).returncode
    finally:
      cluster.end()
      if emulator:
        servers.end(emulator)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
