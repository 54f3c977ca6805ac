"""Errors of the API: a status, and the error object that OpenAI's clients read."""

from gpt_jax.core.errors import CheckpointError, DivergedError, StorageError, UserError
from gpt_jax.inference.waiting import ClosedError, QueueFullError

INVALID, OVERLOADED, FAILED = (
  'invalid_request_error',
  'overloaded_error',
  'server_error',
)
NAMES = {
  'max_new_tokens': 'max_tokens',
  'prompts: ': 'prompt: ',
  'best_of, beams: ': '',
}
"""What our own messages call fields, and what the API does."""


class ApiError(Exception):
  """What a request is refused with, or fails with."""

  def __init__(
    self, status, message, *, kind=INVALID, code=None, param=None, headers=None
  ):
    """Takes the HTTP status, a sentence, and the members of OpenAI's error object."""
    super().__init__(message)
    self.status, self.message = status, message
    self.kind, self.code, self.param = kind, code, param
    self.headers = dict(headers or {})

  @property
  def outcome(self):
    """The class of the error, for counts."""
    return self.code or self.kind

  def body(self):
    """Returns the answer, as JSON has it."""
    return {
      'error': {
        'message': self.message,
        'type': self.kind,
        'param': self.param,
        'code': self.code,
      }
    }


def invalid(param, message, code=None, status=400):
  """Returns the ApiError of a field, named by its path in the body."""
  return ApiError(status, f'{param}: {message}', param=param, code=code)


def overloaded(message, retry_after, code='overloaded', status=503):
  """Returns the ApiError of a request that may come again after some seconds."""
  wait = str(max(1, int(retry_after + 0.999)))
  return ApiError(
    status, message, kind=OVERLOADED, code=code, headers={'retry-after': wait}
  )


def limited(error):
  """Returns the ApiError of a key's limit, an error with `retry_after` and `what`."""
  found = overloaded(str(error), error.retry_after, 'rate_limit_exceeded', status=429)
  found.kind = 'rate_limit_error'
  return found


def of(error, request_id, retry_after=1):
  """Returns any exception as an ApiError; what is a bug of ours tells no more."""
  if isinstance(error, ApiError):
    return error
  if hasattr(error, 'retry_after') and hasattr(error, 'what'):
    return limited(error)
  if isinstance(error, QueueFullError):
    return overloaded(
      'The server is busy and its queue is full; send the request again.', retry_after
    )
  if isinstance(error, ClosedError):
    return overloaded('The server takes no more requests.', retry_after, 'stopping')
  if isinstance(error, StorageError):  # of the key store; the log has its message
    return overloaded('The server cannot check keys now.', retry_after, 'unavailable')
  if isinstance(error, DivergedError | CheckpointError):
    return ApiError(503, str(error), kind=FAILED, code='unavailable')
  if isinstance(error, UserError):
    message = str(error)
    for ours, theirs in NAMES.items():
      message = message.replace(ours, theirs)
    # A sentence about positions or slots: the text was too long.
    is_length = 'after a prompt of' in message
    code = 'context_length_exceeded' if is_length else None
    return ApiError(400, message, code=code, param='max_tokens' if is_length else None)
  return ApiError(
    500,
    f'The server failed at this request; its log has the reason, under {request_id}.',
    kind=FAILED,
    code='internal_error',
  )
