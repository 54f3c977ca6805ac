"""What looks at the requests of `gpt-jax serve`: its flags, and the Hooks they give."""

from typing import Any


def add_arguments(parser):
  parser.add_argument(
    '--keys', metavar='FILE|URL',
    help='keys of clients, made by gpt-jax keys; default: GPT_JAX_KEYS, else'
    ' ~/.config/gpt_jax/keys.sqlite if it exists; without keys only loopback is served',
  )  # fmt: skip
  group = parser.add_argument_group('watching')
  group.add_argument(
    '--request_log', metavar='FILE|-',
    help='a line of JSON for each request: sizes, times, outcome; - is standard output',
  )  # fmt: skip
  group.add_argument(
    '--log_texts', action='store_true',
    help='prompts and answers in the request log too, personal data replaced',
  )  # fmt: skip
  group.add_argument(
    '--no_chat_page', action='store_true', help='nothing is at /, only the API'
  )

  group = parser.add_argument_group('protection (docs/safety.md)')
  group.add_argument(
    '--policy', metavar='FILE',
    help='rules of JSON for prompts and answers: what is refused, replaced, counted',
  )  # fmt: skip
  group.add_argument(
    '--audit', metavar='FILE',
    help='a record of each request, chained by hashes: gpt-jax audit verify FILE',
  )  # fmt: skip


def make(args, models):
  """Returns the Hooks that flags and environment ask for.

  `models`: returns the Models, once there are requests. Raises ConfigError for flags
  that do not go together, StorageError for a log that cannot be written.
  """
  from gpt_jax.serving import chat_page, tracing
  from gpt_jax.serving.hooks import Hooks

  policy: Any = _policy(args)
  request_log, traces = _request_log(args), tracing.open_tracing()
  audit = _audit(args, policy)
  keys: Any = _open_keys(args.keys)
  open_ones = [one for one in (request_log, traces, audit, keys) if one is not None]
  return Hooks(
    keys=keys,
    policy=policy,
    audit=audit,
    metrics=_metrics(models, keys),
    request_log=request_log,
    tracing=traces,
    routes=() if args.no_chat_page else chat_page.routes(),
    on_close=tuple(one.close for one in open_ones),
  )


def _policy(args):
  if args.policy is None:
    return None
  from gpt_jax.commands import text_models
  from gpt_jax.safety import policy
  from gpt_jax.safety.policy_file import Models

  return policy.load(
    args.policy, Models(text_models.open_classifier, text_models.open_names)
  )


def _audit(args, policy):
  if args.audit is None:
    return None
  from gpt_jax.safety.audit import AuditLog

  log = AuditLog(args.audit)
  log.record({'event': 'started', 'policy_sha256': policy and policy.digest})
  return log


def _open_keys(where):
  """Returns the KeyStore of the flag, or of the default where there is one; else None.

  A store that is named and is not there is an error: its server would be open to all.
  """
  import os
  import pathlib

  from gpt_jax.keys import location
  from gpt_jax.keys.store import KeyStore

  if where is None:
    where = location.default()
    is_named = bool(os.environ.get(location.VARIABLE))
    if not is_named and not pathlib.Path(where).expanduser().exists():
      return None
  return KeyStore(where)


def _metrics(models, keys):
  import gpt_jax
  from gpt_jax.serving import engine_state
  from gpt_jax.serving.metrics import Metrics
  from gpt_jax.workdir import provenance

  state = provenance.git_state(provenance.CODE)
  return Metrics(
    gpt_jax.__version__,
    commit=state and state['commit'],
    engines=lambda: engine_state.of(models()),
    budgets=lambda: _budgets(keys),
  )


def _budgets(keys):
  """Returns what the keys have used of their budgets; {} while the store is away.

  Other numbers are wanted most when something is wrong.
  """
  from gpt_jax.core.errors import StorageError

  if keys is None:
    return {}
  try:
    return keys.budget_shares()
  except StorageError:
    return {}


def _request_log(args):
  from gpt_jax.core.errors import ConfigError
  from gpt_jax.serving.request_log import RequestLog

  if args.request_log is None:
    if args.log_texts:
      raise ConfigError('--log_texts: give --request_log=FILE, where they shall stand.')
    return None
  return RequestLog(args.request_log, redact=_redact() if args.log_texts else None)


def _redact():
  from gpt_jax.safety.redaction import Redactor

  redactor = Redactor()
  return lambda text: redactor.redact(text)[0]
