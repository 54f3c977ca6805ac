"""The registry of fault lanes."""

import functools

from tests.faults import (
  bucket_runs,
  disk,
  flips,
  inputs,
  kills,
  processes,
  signals,
  soak,
)


def _with_seed(lane):
  """Returns a lane from one that takes a seed and makes its own folder."""
  return lambda count, rng, folder: lane(count, rng.randrange(999))


LANES = {
  'kills': (processes.kill_trainings, 200),
  'saves': (_with_seed(kills.run_kills), 200),
  'processes': (processes.lose_one_of_two, 20),
  'signals': (signals.send_signals, 30),
  'flips': (_with_seed(flips.run_flips), 1000),
  'tokens': (inputs.flip_tokens, 1000),
  'disk': (_with_seed(disk.run_disk), 20),
  'configs': (inputs.load_hostile_values, 1.0),
  'values': (inputs.train_hostile_values, 1.0),
  'bucket_kills': (bucket_runs.kill_while_saving, 20),
  'bucket_requests': (bucket_runs.fail_one_request_in_ten, 3),
  'bucket_network': (bucket_runs.lose_the_network, 2),
  'bucket_kills_s3': (
    functools.partial(bucket_runs.kill_while_saving, scheme='s3'),
    20,
  ),
  'soak': (soak.soak, 2000),
}
"""Name -> (lane, its full size): `lane(size, rng, folder)` returns a row, or None where
it cannot run; the size is a number of tries, a fraction of the fields, or of steps."""
