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
HEADER = (
  '| processes | loop | requests/s | tokens/s | first token p50 | p95 | request p95 |'
  ' refused | failed | cores of servers | of the client |\n'
  '|---|---|---|---|---|---|---|---|---|---|---|'
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

  def cpu_seconds(self):
    """Returns what all processes have used so far; 0 where there is no /proc."""
    return sum(_cpu_seconds(process.pid) for process in self._processes)


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

  def cpu_seconds(self):
    return 0.0


def _cpu_seconds(pid):
  path = pathlib.Path(f'/proc/{pid}/stat')
  if not path.exists():
    return 0.0
  fields = path.read_text().rpartition(')')[2].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


async def measure(servers, model, args):
  """Returns the rows of `servers`: a closed loop, then open loops, as JSON values."""
  await servers.ready()
  addresses = servers.addresses
  options: dict[str, Any] = dict(key=os.environ.get('GPT_JAX_KEY'))
  await load.closed_loop(  # first requests of a process are slower
    addresses, _bodies(model, 8 * len(addresses), args), 4, **options
  )
  loops = [('closed', None, args.requests)]
  loops += [('open', rate, max(1, round(rate * args.seconds))) for rate in args.rates]
  rows = []
  for kind, rate, count in loops:
    sent = _bodies(model, count, args)
    before, own, started = servers.cpu_seconds(), time.process_time(), time.monotonic()
    if rate is None:
      found = await load.closed_loop(addresses, sent, args.clients, **options)
    else:
      found = await load.open_loop(addresses, sent, rate, **options)
    spent = time.monotonic() - started
    rows.append(
      dict(
        processes=len(addresses), loop=kind, rate=rate,
        clients=None if rate else args.clients,
        server_cores=(servers.cpu_seconds() - before) / spent,
        client_cores=(time.process_time() - own) / spent,
        **dataclasses.asdict(found),
      )
    )  # fmt: skip
    print(line(rows[-1]), flush=True)
  return rows


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
    f' {row["failed"]} | {row["server_cores"]:.2f} | {row["client_cores"]:.2f} |'
  )


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
  parser.add_argument('--figure', metavar='FILE.png')
  parser.add_argument('--json', metavar='FILE')
  return parser


def main(argv=None):
  """Runs the program; what it does not know of its flags goes to `gpt-jax serve`."""
  args, overrides = make_parser().parse_known_args(argv)
  if bool(args.workdir) == bool(args.address):
    raise ConfigError('give --workdir=RUN to start servers, or --address=URL of some.')
  print(HEADER)
  rows = []
  for count in args.processes if args.workdir else (len(args.address),):
    servers = (
      Servers(args.workdir, count, overrides) if args.workdir else Remote(args.address)
    )
    with servers:
      rows += asyncio.run(measure(servers, args.model, args))
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + '\n')
  if args.figure:
    load_figure.save(rows, args.figure)
  return rows


if __name__ == '__main__':
  main()
