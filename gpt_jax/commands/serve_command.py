"""Serves runs over HTTP, with the API that OpenAI's clients speak.

Paths: /v1/models, /v1/completions, /v1/chat/completions, /v1/embeddings, /v1/classify,
/healthz, /readyz, /metrics, /openapi.json and others (docs/serving.md); / is a chat
page. Requests of all clients share the slots of a model (--config.inference.slots,
...). SIGTERM lets requests in progress end and then stops; SIGHUP serves the newest
step of each run.

examples:
  gpt-jax serve --workdir=runs/tiny
  gpt-jax serve --workdir=chat=runs/chat --workdir=bert=runs/bert --port=8001
  gpt-jax serve --workdir=runs/base --adapter=poems=runs/lora --chat_template=chatml
"""

import sys

from gpt_jax.commands import flags, serve_hooks
from gpt_jax.core.errors import ConfigError


def add_arguments(parser):
  parser.add_argument(
    '--workdir', action='append', required=True, metavar='[NAME=]DIR',
    help='a run, or a folder of Hugging Face; repeatable; NAME is what clients call it',
  )  # fmt: skip
  parser.add_argument(
    '--adapter', action='append', default=[], metavar='[MODEL/]NAME=DIR',
    help="a run with peft.name='lora' over a model; repeatable",
  )  # fmt: skip
  parser.add_argument('--host', default='127.0.0.1', help='default: 127.0.0.1')
  parser.add_argument('--port', type=int, default=8000, help='default: 8000')
  parser.add_argument(
    '--chat_template', metavar='NAME|FILE',
    help="format of conversations; default: that of the model's tokenizer",
  )  # fmt: skip
  parser.add_argument(
    '--warm_up', default='auto', metavar='KINDS',
    help='what to compile at the start beside what writes texts: some of embeddings,'
    ' classify, echo, by commas, or all, none; default: auto, which is classify of'
    ' models with a head, and embeddings of others that write no text',
  )  # fmt: skip
  flags.add_config_overrides(parser)
  serve_hooks.add_arguments(parser)
  _add_limits(parser.add_argument_group('limits of requests'))
  parser.add_argument(
    '--measure', type=int, metavar='CLIENTS',
    help='instead of serving, compare the engine alone with the engine over HTTP',
  )  # fmt: skip


def _add_limits(group):
  group.add_argument(
    '--allowed_host', action='append', default=[], metavar='NAME',
    help='a Host header that is answered; repeatable; on loopback also localhost',
  )  # fmt: skip
  group.add_argument('--max_body_bytes', type=int, metavar='N', help='default: 1 MiB')
  group.add_argument('--max_connections', type=int, metavar='N', help='default: 1,024')
  group.add_argument(
    '--max_texts', type=int, metavar='N', help='prompts x n of a request; default: 64'
  )
  group.add_argument(
    '--request_seconds', type=float, metavar='S', help='of a request; default: 600'
  )
  group.add_argument(
    '--read_seconds', type=float, metavar='S',
    help='in which headers have to come, and a body; default: 10',
  )  # fmt: skip
  group.add_argument(
    '--drain_seconds', type=float, metavar='S',
    help='for which requests may go on after SIGTERM; default: 30',
  )  # fmt: skip


LIMITS = (
  'max_body_bytes', 'max_connections', 'max_texts', 'request_seconds', 'read_seconds',
  'drain_seconds',
)  # fmt: skip


def run(args, overrides):
  import functools

  import gpt_jax
  from gpt_jax.serving import models, server, warm_up
  from gpt_jax.serving.settings import Settings

  sources = models.parse_sources(args.workdir, args.adapter)
  kinds = warm_up.parse(args.warm_up)
  given = {name: getattr(args, name) for name in LIMITS}
  given = {name: value for name, value in given.items() if value is not None}
  for name, value in given.items():
    if not value > 0:
      raise ConfigError(f'--{name}={value}: expected a number above 0.')
  settings = Settings(
    host=args.host, port=args.port, allowed_hosts=tuple(args.allowed_host),
    chat_template=args.chat_template, version=gpt_jax.__version__, **given,
  )  # fmt: skip
  if args.measure is not None:
    if args.measure < 1:
      raise ConfigError(f'--measure={args.measure}: expected at least one client.')
    flags.enable_compilation_cache()
    return _measure(
      args, models.Models(sources, overrides, args.chat_template), settings
    )
  hooks = serve_hooks.make(args, lambda: loaded)
  server.require_keys(settings, hooks)
  sock = server.bind(args.host, args.port)  # before models are loaded
  flags.enable_compilation_cache()
  loaded = models.Models(
    sources, overrides, args.chat_template,
    warm_up=functools.partial(warm_up.warm_up, kinds=kinds),
  )  # fmt: skip

  def say():
    host, port = sock.getsockname()[:2]
    names = ', '.join(served.name for served in loaded.served())
    print(f'serving {names} at http://{host}:{port}/v1', file=sys.stderr, flush=True)

  return server.run(server.make(loaded, settings, hooks), sock, say)


def _measure(args, loaded, settings):
  """Prints what HTTP adds to the time of the engine."""
  import numpy as np

  from gpt_jax.serving import overhead
  from gpt_jax.tracking import console

  found = overhead.measure(
    loaded, settings, clients=args.measure,
    progress=lambda rounds: console.progress(rounds, 'measuring', len(rounds)),
  )  # fmt: skip
  rows = [
    (
      name,
      *(f'{np.median(one):.2f}' for one in (times, cpu)),
      f'{found.tokens / np.median(times):,.1f}',
    )
    for name, times, cpu in (
      ('engine alone', found.engine, found.engine_cpu),
      ('over HTTP', found.http, found.http_cpu),
    )
  ]
  title = f'{2 * found.clients} texts, {found.tokens:,} tokens, {found.clients} clients'
  console.table(title, ('', 'seconds', 'CPU s', 'tokens/s'), rows)
  low, median, high = np.quantile(found.ratios, (0.25, 0.5, 0.75))
  print(
    f'HTTP adds {median - 1:+.1%} to the time (quartiles {low - 1:+.1%} to'
    f' {high - 1:+.1%}, {len(found.ratios)} rounds in turn)'
  )
  return 0
