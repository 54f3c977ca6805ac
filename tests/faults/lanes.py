"""The registry of fault lanes."""

import functools

from tests.faults import (
  bucket_runs,
  disk,
  flips,
  inputs,
  kills,
  processes,
  server_ends,
  server_fuzz,
  server_input,
  server_load,
  signals,
  soak,
)


def _with_seed(lane):
  """Returns a lane from one that takes a seed and makes its own folder."""
  return lambda count, rng, folder: lane(count, rng.randrange(999))


SERVER = {
  'serve_keys': (server_input.forge_tokens, 1000),
  'serve_fuzz': (server_fuzz.fuzz, 10_000),
  'serve_sizes': (server_fuzz.send_sizes, 20),
  'serve_bounds': (server_input.send_bounds, 1),
  'serve_slow': (server_load.drip, 500),
  'serve_overload': (server_load.overload, 60.0),
  'serve_disconnects': (server_load.disconnect, 1000),
  'serve_poison': (server_ends.poison, 50),
  'serve_canaries': (server_ends.leak, 1000),
  'serve_paths': (server_input.traverse, 3),
  'serve_stop': (server_ends.stop, 10),
  'serve_hosts': (server_input.cross_origins, 10),
}
"""Lanes of `gpt-jax serve`; `--only=serve` runs them all. The size of an overload is in
seconds."""

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
  **SERVER,
}
"""Name -> (lane, its full size): `lane(size, rng, folder)` returns a row, or None where
it cannot run; the size is a number of tries, a fraction of the fields, or of steps."""
