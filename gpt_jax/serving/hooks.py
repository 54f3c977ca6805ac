"""What else looks at requests: keys, policy, audit, metrics, log, traces; None is off.

Those that may take time (a data base, a model) are called in a thread; `OutputFilter`s
on the event loop unless the policy `is_slow`.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Protocol

from gpt_jax.core.errors import UserError
from gpt_jax.serving.request_record import RequestRecord

RequestContext = RequestRecord
"""What is known of one request, for all hooks, complete when it has ended."""

SCOPES = (
  'completions', 'chat', 'embeddings', 'classify', 'models', 'metrics', 'admin',
)  # fmt: skip
"""What a key may be allowed to do; each route names one."""


class LimitError(UserError):
  """A key that has used up what it may; answered with 429 and Retry-After.

  Another class with these attributes will do as well.
  """

  def __init__(self, message, *, retry_after, what):
    """Takes seconds to wait, and which limit it was: 'requests_per_minute' or so."""
    super().__init__(message)
    self.retry_after, self.what = retry_after, what


class Key(Protocol):
  """Who asks."""

  @property
  def id(self) -> Any:
    """Shown in logs and metrics, also the principal of prefix cache and queue."""
    ...

  @property
  def scopes(self) -> Collection[str]:
    """Some of SCOPES."""
    ...

  def allows_model(self, name: str) -> bool:
    """Returns whether it may use the model or adapter of that name."""
    ...


class Keys(Protocol):
  """Who may ask, and how much; `gpt_jax.keys.KeyStore`. Called in a thread."""

  def authenticate(self, secret: bytes) -> Key | None:
    """Returns the Key of what followed `Authorization: Bearer`, None: no such key."""
    ...

  def admit(self, key: Key, tokens: Any = 0) -> Any:
    """Counts a request, returns what `charge` takes.

    `tokens`: that it may take at most, which are reserved; None: it takes none. Raises
    what has `retry_after` and `what`, as LimitError.
    """
    ...

  def charge(self, key: Key, tokens: int, admission: Any = None) -> None:
    """Counts the tokens of a request that has ended, in place of those reserved."""
    ...

  def has_keys(self) -> bool:
    """Returns whether there is one, revoked and expired ones included."""
    ...


class Refusal(Protocol):
  """Why a text is not let through."""

  @property
  def rule(self) -> str:
    """Name of the rule, for counts and the audit log."""
    ...

  @property
  def text(self) -> str:
    """What the client is told instead."""
    ...


class OutputFilter(Protocol):
  """Follows one answer as it is written."""

  @property
  def refusal(self) -> Refusal | None:
    """Set once the answer is stopped: nothing more of it is shown."""
    ...

  def feed(self, piece: str) -> str:
    """Returns what can be shown for certain, perhaps ''."""
    ...

  def finish(self) -> str:
    """Returns what was held back."""
    ...


class Policy(Protocol):
  """What may be asked and answered; `gpt_jax.safety.policy.Policy`.

  Optional attributes: `is_slow = True` has filters called in a thread;
  `redact_prompt(text) -> (text, Counter)` replaces parts of prompts; `read_prompt`
  does both in one pass and returns what has text, refusal, redactions and hits. An
  OutputFilter may have `redactions`, a Counter, and `hits`, a Counter of rules.
  """

  def check_prompt(self, text: str) -> Refusal | None:
    """Returns why a prompt is refused, or None. Called in a thread."""
    ...

  def output_filter(self) -> OutputFilter:
    """Returns one for an answer: each choice has its own."""
    ...


class Audit(Protocol):
  """What has to be provable later; `gpt_jax.safety.audit.AuditLog`. In a thread."""

  def record(self, entry: dict) -> Any:
    """Appends an entry of plain JSON values."""
    ...


class Metrics(Protocol):
  """Numbers for Prometheus; `gpt_jax.serving.metrics.Metrics`. Called on the loop."""

  def started(self) -> None: ...

  def written(self, model: str, count: int) -> None:
    """Counts new tokens of a text that goes on."""
    ...

  def finished(self, record: RequestContext) -> None: ...

  def reloaded(self, model: str, outcome: str = 'ok') -> None: ...

  def drains(self) -> None: ...

  def render(self) -> bytes:
    """Returns the answer of /metrics."""
    ...


class RequestLog(Protocol):
  """A line for each request; `gpt_jax.serving.request_log.RequestLog`. In a thread."""

  def write(
    self, record: RequestContext, prompt: str | None = None, answer: str | None = None
  ) -> None: ...


class Tracing(Protocol):
  """Traces of requests; `gpt_jax.serving.tracing`. Called on the loop."""

  def started(self, record: RequestContext, headers: dict[str, str]) -> None:
    """Takes the headers of the request in small letters; may set `record.trace_id`."""
    ...

  def finished(self, record: RequestContext) -> None: ...


@dataclasses.dataclass(frozen=True)
class Hooks:
  """The hooks of an app; each may be None."""

  keys: Keys | None = None
  policy: Policy | None = None
  audit: Audit | None = None
  metrics: Metrics | None = None
  request_log: RequestLog | None = None
  tracing: Tracing | None = None
  routes: tuple[Any, ...] = ()
  """More `app.Route`s, such as those of the chat page; see OPEN there."""
  on_close: tuple[Callable[[], Any], ...] = ()
  """Called when the server has ended."""
