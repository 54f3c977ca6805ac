"""What HTTP costs: the same requests through a server and given to its engine at once.

Both sides use one engine in one process, in alternating order; the clients of the
server are a process of their own, on the same cores or, where `taskset` has left some,
on the others.
"""

import asyncio
import dataclasses
import multiprocessing
import os
import threading
import time

import numpy as np

from gpt_jax.benchmarks import load
from gpt_jax.serving import server as server_of


@dataclasses.dataclass(frozen=True)
class Overhead:
  """Seconds of each round, and tokens that one has."""

  clients: int
  tokens: int
  engine: tuple[float, ...]
  http: tuple[float, ...]
  engine_cpu: tuple[float, ...] = ()
  """Seconds of cores that the process used, which other processes change less."""
  http_cpu: tuple[float, ...] = ()

  @property
  def ratios(self):
    """Seconds over HTTP by those of the engine alone, of each round."""
    return np.array(self.http) / np.array(self.engine)


def measure(models, settings, *, clients=32, new_tokens=32, rounds=5, progress=iter):
  """Returns the Overhead of the first of Models, two requests for each client.

  `progress(rounds)` displays a progress bar.
  """
  name = models.served()[0].name
  model = models.get(name).model
  model.require('completions')
  bodies = [
    dict(model=name, prompt='The list of words', max_tokens=new_tokens, seed=i)
    for i in range(2 * clients)
  ]
  sock = server_of.bind('127.0.0.1', 0)
  address = f'http://127.0.0.1:{sock.getsockname()[1]}'
  server, started = server_of.make(models, settings), threading.Event()
  thread = threading.Thread(target=server_of.run, args=(server, sock, started.set))
  thread.start()
  started.wait()
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe()
  client = context.Process(target=_ask, args=(theirs, address, bodies, clients))
  client.start()
  try:
    sides = {'engine': lambda: _direct(model, bodies), 'http': lambda: _over(ours)}
    tokens = sides['engine']()[1]  # the first time of each is not counted
    sides['http']()
    found, cpu = {'engine': [], 'http': []}, {'engine': [], 'http': []}
    for i in progress(range(rounds)):
      for side in list(sides) if i % 2 else reversed(list(sides)):
        used = time.process_time()
        seconds, count = sides[side]()
        assert count == tokens, f'{side}: {count} tokens, not {tokens}'
        found[side].append(seconds)
        cpu[side].append(time.process_time() - used)
  finally:
    ours.send(None)
    client.join(10)
    server.stop()
    thread.join()
  lists = found['engine'], found['http'], cpu['engine'], cpu['http']
  return Overhead(clients, tokens, *map(tuple, lists))


def _other_cores():
  """Returns the cores that this process may not use, as under `taskset`."""
  if not hasattr(os, 'sched_getaffinity'):  # Linux alone has it
    return set()
  return set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)


def _direct(model, bodies):
  """Returns (seconds, new tokens) of the requests, sent to the scheduler at once."""
  begun = time.perf_counter()
  handles = [
    model.texts.submit_now(b['prompt'], max_new_tokens=b['max_tokens'], seed=b['seed'])
    for b in bodies
  ]
  count = sum(len(handle.result().ids) for handle in handles)
  return time.perf_counter() - begun, count


def _over(pipe):
  """Returns the same of the clients' process."""
  pipe.send('go')
  return pipe.recv()


def _ask(pipe, address, bodies, clients):
  if others := _other_cores():
    os.sched_setaffinity(0, others)
  while pipe.recv() is not None:
    found = asyncio.run(load.closed_loop([address], bodies, clients))
    assert found.answered == len(bodies), found
    tokens = round(found.tokens_per_second * found.seconds)
    pipe.send((found.seconds, tokens))
