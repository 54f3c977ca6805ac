"""Servers of small random models, in this process, on a port that is free."""

import contextlib
import functools
import threading
import time

import httpx

from gpt_jax import api
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.serving import model as model_of
from gpt_jax.serving import models as models_of
from gpt_jax.serving import server as server_of
from gpt_jax.serving.hooks import Hooks
from gpt_jax.serving.model import Source
from gpt_jax.serving.settings import Settings
from tests import small_models as small

http = httpx.Client(timeout=60, verify=False)  # a new one each time takes 50 ms
CONTEXT = 64
SLOTS = 4
NAME = 'small'


@functools.cache
def run_of(step=1, **overrides):
  """Returns a Run of a small random model that reads bytes."""
  tokenizer = ByteTokenizer()
  fields = dict(
    data__seq_len=CONTEXT, model__vocab_size=tokenizer.vocab_size,
    model__position='rope', model__max_seq_len=CONTEXT, inference__slots=SLOTS,
    inference__prefill_chunk=16, inference__queue_limit=16,
  )  # fmt: skip
  config = small.resolve(**(fields | overrides))
  model = small.make_gpt(config)
  return api.Run(config, model, small.random_params(model), tokenizer, step)


def load(source, overrides=None, chat_template=None, run=None):
  """Loads as `model.load` does, without a workdir."""
  del overrides
  return model_of.Model(source, run or run_of(), chat_template)


def models(names=(NAME,), chat_template='plain', load=load):
  """Returns Models of small random runs."""
  sources = [Source(name, f'nowhere/{name}') for name in names]
  return models_of.Models(sources, None, chat_template, load, newest=lambda path: None)


class Served:
  """A server in a thread; `url` is where it listens."""

  def __init__(self, server, sock):
    self.server, self.sock = server, sock
    host, port = sock.getsockname()[:2]
    self.host, self.port, self.url = host, port, f'http://{host}:{port}'
    self.code = None
    self._started = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()
    assert self._started.wait(30)

  def _run(self):
    self.code = server_of.run(self.server, self.sock, self._started.set)

  @property
  def models(self):
    return self.server.shared.models

  def scheduler(self, name=NAME):
    """Returns the Scheduler of a model."""
    return self.models.get(name).model.texts.raw

  def post(self, path, **body):
    """Returns httpx's response to a JSON body."""
    return http.post(self.url + path, json={'model': NAME} | body)

  def complete(self, prompt='ab', **body):
    """Returns the answer of /v1/completions."""
    found = self.post('/v1/completions', prompt=prompt, **body)
    assert found.status_code == 200, found.text
    return found.json()

  def stop(self):
    """Ends the server as SIGTERM does; returns its exit code."""
    self.server.stop()
    self._thread.join(30)
    assert not self._thread.is_alive()
    return self.code


@contextlib.contextmanager
def serve(loaded=None, hooks=None, **settings):
  """Yields the Served of Models."""
  settings = Settings(port=0, **({'drain_seconds': 5} | settings))
  sock = server_of.bind('127.0.0.1', 0)
  served = Served(server_of.make(loaded or models(), settings, hooks or Hooks()), sock)
  try:
    yield served
  finally:
    served.stop()


def wait_until(condition, seconds=20):
  """Returns once `condition()` holds; fails after a while."""
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it did not come about'
    time.sleep(0.005)
