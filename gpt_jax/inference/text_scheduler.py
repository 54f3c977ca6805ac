"""Texts of many senders: what a server sits on. `Run.scheduler()` makes one.

with run.scheduler().start() as scheduler:       # a thread does the work
  handle = scheduler.submit('The function', max_new_tokens=64, priority=1)
  for piece in handle:                           # in complete characters
    print(piece, end='')
"""

from gpt_jax.core.errors import ConfigError


class TextHandle:
  """One text that is being written; iterating yields its pieces as they come."""

  def __init__(self, handle, prompt, asked, pieces, completion):
    self.handle = handle
    """The `Handle` of the ids: `seconds`, `reused_tokens`, `ended`."""
    self.prompt = prompt
    self._asked, self._pieces, self._completion = asked, pieces, completion

  def __iter__(self):
    if self._asked.echo and self.prompt:
      yield self.prompt
    yield from self._pieces(self.prompt, self.handle, self._asked.stop)

  def result(self):
    """Returns the Completion once the text is over; raises what made it fail."""
    written, request = self.handle.result(), self.handle.request
    return self._completion(self.prompt, self._asked, request, written)

  def cancel(self):
    """Ends the text where it is."""
    self.handle.cancel()


class TextScheduler:
  """A `Scheduler` behind a tokenizer; used from any number of threads."""

  def __init__(self, scheduler, read, pieces, completion):
    """Takes a Scheduler, and the parts of the TextGenerator that makes this."""
    self.scheduler = scheduler
    self._read, self._pieces, self._completion = read, pieces, completion

  def submit(self, prompt, priority=0, **options):
    """Returns the TextHandle of a prompt; options are those of `Run.complete`.

    Raises QueueFullError where inference.queue_limit requests wait, ConfigError for
    what cannot be written.
    """
    prompts, asked, requests = self._read([prompt], options)
    if len(requests) > 1 or asked.beams > 1:
      raise ConfigError(
        'n, best_of, beams: a handle is one text; submit the prompt again with other'
        ' seeds, or use `complete`.'
      )
    handle = self.scheduler.submit(requests[0], priority)
    return TextHandle(handle, prompts[0], asked, self._pieces, self._completion)

  def start(self):
    """Works in a thread of its own from now on; returns itself."""
    self.scheduler.start()
    return self

  def close(self):
    """Ends all texts and frees the slots."""
    self.scheduler.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()
