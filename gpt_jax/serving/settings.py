"""What a server allows a request, and how long."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """Limits of a server; times are in seconds."""

  version: str = 'unknown'
  """Of the server, for the OpenAPI page."""
  host: str = '127.0.0.1'
  port: int = 8000
  allowed_hosts: tuple[str, ...] = ()
  """Host headers that are answered besides those of loopback; empty: any, unless
  `host` is loopback."""
  max_body_bytes: int = 1 << 20
  max_header_bytes: int = 16 << 10
  max_connections: int = 1024
  max_texts: int = 64
  """Texts that one request may ask for: prompts times n or best_of."""
  max_inputs: int = 256
  """Texts of one request for embeddings or classes."""
  read_seconds: float = 10.0
  """In which the headers of a request have to come, and its body again."""
  write_seconds: float = 30.0
  """For which a client may leave a part of its answer unread."""
  request_seconds: float = 600.0
  """Of a whole request, queue included."""
  drain_seconds: float = 30.0
  """For which requests may go on once the server was told to stop."""
  retry_after: int = 1
  """What a client is told to wait where the queue is full."""
  chat_template: str | None = None
  """A name or a text in Jinja, of all models; None: that of each model's tokenizer."""
