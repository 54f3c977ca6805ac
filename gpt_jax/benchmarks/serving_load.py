r"""Load on 1, 2 and 4 processes of `gpt-jax serve`, which share the cores of a machine.

    python -m gpt_jax.benchmarks.serving_load --workdir=runs/tiny --figure=load.png
    python -m gpt_jax.benchmarks.serving_load --address=http://127.0.0.1:8000 \
      --model=tiny

Starts the servers on loopback, sends requests to them in turn, as a balancer does, and
prints a table: a closed loop for the most that they can do, open loops at given rates
for what requests wait. With --address it loads servers that are there, with the key in
GPT_JAX_KEY. docs/serving_operations.md says what the columns mean.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from gpt_jax.benchmarks import load, load_client, load_figure
from gpt_jax.core.errors import ConfigError, DataError

FIRST_PORT = 18400
START_SECONDS = 300
STOP_SECONDS = 40
COUNTS = 'requests', 'answered', 'refused', 'failed', 'unsent'
"""Fields that are added up over rounds."""
HEADER = (
  '| processes | loop | requests/s | tokens/s | first token p50 | p95 | request p95 |'
  ' refused | failed | not sent | cores | tokens per core-second |\n'
  '|---|---|---|---|---|---|---|---|---|---|---|---|'
)


class Servers:
  """Processes of `gpt-jax serve` on loopback; a context manager that ends them."""

  def __init__(self, workdir, count, overrides=(), first_port=FIRST_PORT):
    self.addresses = [f'http://127.0.0.1:{first_port + i}' for i in range(count)]
    self._processes = []
    self._log = tempfile.TemporaryFile()
    for i in range(count):
      command = [sys.executable, '-m', 'gpt_jax', 'serve', f'--workdir=model={workdir}']
      command += [f'--port={first_port + i}', '--no_chat_page', *overrides]
      self._processes.append(
        subprocess.Popen(command, stdout=self._log, stderr=self._log)
      )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for process in self._processes:
      process.send_signal(signal.SIGTERM)
    for process in self._processes:
      try:
        process.wait(STOP_SECONDS)
      except subprocess.TimeoutExpired:
        process.kill()
    self._log.close()

  async def ready(self):
    """Returns once all take requests. Raises DataError where one has ended."""
    limit = time.monotonic() + START_SECONDS
    for process, address in zip(self._processes, self.addresses, strict=True):
      while await load_client.get(address, '/readyz') != load_client.OK:
        if process.poll() is not None or time.monotonic() > limit:
          self._log.seek(0)
          text = self._log.read().decode('utf-8', 'replace').strip()[-2000:]
          raise DataError(f'{address}: the server did not start:\n{text}')
        await asyncio.sleep(0.2)

  def cpu_seconds(self, count):
    """Returns what the first `count` processes have used so far; 0 without /proc."""
    return sum(_cpu_seconds(process.pid) for process in self._processes[:count])


class Remote:
  """Servers that somebody else has started."""

  def __init__(self, addresses):
    self.addresses = addresses

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  async def ready(self):
    """Raises DataError for one that takes no requests."""
    for address in self.addresses:
      status = await load_client.get(address, '/readyz')
      if status != load_client.OK:
        raise DataError(f'--address={address}: /readyz answered {status}, not 200.')

  def cpu_seconds(self, count):
    del count
    return 0.0


def _cpu_seconds(pid):
  path = pathlib.Path(f'/proc/{pid}/stat')
  if not path.exists():
    return 0.0
  fields = path.read_text().rpartition(')')[2].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


async def measure(servers, counts, model, args):
  """Returns a row of JSON values for each round, number of servers and loop.

  All servers are there in all rounds; those that are not asked are idle. Odd rounds go
  through the numbers of servers backwards, so that other work on the machine meets all.
  """
  await servers.ready()
  await load.closed_loop(  # first requests of a process are slower
    servers.addresses, _bodies(model, 8 * max(counts), args), 4, **_options()
  )
  rows = []
  for number in range(args.rounds):
    for count in counts[:: -1 if number % 2 else 1]:
      for rate in (None, *args.rates):
        row = await _measure_one(servers, count, rate, model, args)
        rows.append(dict(round=number) | row)
        print(line(row), file=sys.stderr, flush=True)
  return rows


async def _measure_one(servers, count, rate, model, args):
  """Returns the row of a loop on the first `count` servers; rate None: a closed one."""
  number = args.requests if rate is None else max(1, round(rate * args.seconds))
  addresses, sent = servers.addresses[:count], _bodies(model, number, args)
  before, started = servers.cpu_seconds(count), time.monotonic()
  if rate is None:
    found = await load.closed_loop(addresses, sent, args.clients, **_options())
  else:
    found = await load.open_loop(addresses, sent, rate, **_options())
  used = servers.cpu_seconds(count) - before
  return dict(
    processes=count,
    loop='closed' if rate is None else 'open',
    rate=rate,
    clients=args.clients if rate is None else None,
    server_cores=used / (time.monotonic() - started),
    **dataclasses.asdict(found),
  )


def medians(rows):
  """Returns a row for each number of servers and loop: medians over the rounds."""
  groups = {}
  for row in rows:
    groups.setdefault((row['processes'], row['loop'], row['rate']), []).append(row)
  found = []
  for group in sorted(groups.values(), key=lambda group: group[0]['processes']):
    numbers = [name for name, value in group[0].items() if isinstance(value, float)]
    middle = {name: statistics.median(row[name] for row in group) for name in numbers}
    sums = {name: sum(row[name] for row in group) for name in COUNTS}
    found.append(group[0] | middle | sums)
  return found


def _options() -> dict[str, Any]:
  return dict(key=os.environ.get('GPT_JAX_KEY'))


def _bodies(model, count, args):
  return load.make_bodies(model, count, longest=args.longest)


def line(row):
  """Returns a row of the table under HEADER."""
  if row['rate'] is None:
    loop = f'closed, {row["clients"]} clients'
  else:
    loop = f'open, {row["rate"]:g}/s'
  return (
    f'| {row["processes"]} | {loop} | {row["requests_per_second"]:.1f} |'
    f' {row["tokens_per_second"]:.0f} | {_ms(row["first_token_p50"])} |'
    f' {_ms(row["first_token_p95"])} | {_ms(row["request_p95"])} | {row["refused"]} |'
    f' {row["failed"]} | {row["unsent"]} | {_cores(row)} |'
  )


def _cores(row):
  cores = row['server_cores']
  return f'{cores:.2f} | {row["tokens_per_second"] / cores:,.0f}' if cores else '- | -'


def _ms(seconds):
  return '-' if seconds != seconds else f'{1000 * seconds:.0f} ms'


def _numbers(kind):
  return lambda text: tuple(kind(part) for part in text.split(','))


def make_parser():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', help='the run that the servers serve')
  parser.add_argument(
    '--address', action='append', default=[], help='a server that is there; repeatable'
  )
  parser.add_argument('--model', default='model', help='its name, with --address')
  parser.add_argument('--processes', type=_numbers(int), default=(1, 2, 4))
  parser.add_argument('--clients', type=int, default=32, help='of the closed loop')
  parser.add_argument('--requests', type=int, default=256, help='of the closed loop')
  parser.add_argument(
    '--rates', type=_numbers(float), default=(), help='of open loops, requests a second'
  )
  parser.add_argument('--seconds', type=float, default=20, help='of each open loop')
  parser.add_argument(
    '--longest', type=int, default=48, help='bytes of a prompt, tokens of a text'
  )
  parser.add_argument('--rounds', type=int, default=3, help='medians are over these')
  parser.add_argument('--figure', metavar='FILE.png')
  parser.add_argument('--json', metavar='FILE')
  return parser


def main(argv=None):
  """Runs the program; what it does not know of its flags goes to `gpt-jax serve`."""
  args, rest = make_parser().parse_known_args(argv)
  if bool(args.workdir) == bool(args.address):
    raise ConfigError('give --workdir=RUN to start servers, or --address=URL of some.')
  if args.workdir:
    servers, counts = Servers(args.workdir, max(args.processes), rest), args.processes
  else:
    servers, counts = Remote(args.address), (len(args.address),)
  with servers:
    rows = asyncio.run(measure(servers, counts, args.model, args))
  table = medians(rows)
  print(HEADER, *map(line, table), sep='\n')
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + '\n')
  if args.figure:
    load_figure.save(table, args.figure)
  return rows


if __name__ == '__main__':
  main()
