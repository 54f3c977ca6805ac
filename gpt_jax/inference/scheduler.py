"""Many requests on a few slots: continuous batching.

A request enters the batch when a slot is free and leaves it when its text is over,
whatever the others do (iteration-level scheduling: Orca, OSDI 2022). Long prompts are
read in chunks between the tokens of the others (Sarathi, arXiv:2308.16369), and what
several prompts begin with is read once (`prefix_cache.py`). A text depends on its
request alone: the same chunks of it run in the same compiled programs in any company.

    handles = [scheduler.submit(request) for request in requests]
    texts = [handle.result() for handle in handles]
"""

import collections
import dataclasses
import math
import threading
from typing import Any

from gpt_jax.inference.handle import Handle
from gpt_jax.inference.pace import MOST, Pace
from gpt_jax.inference.prefix_cache import Node, PrefixCache
from gpt_jax.inference.request import whole_number
from gpt_jax.inference.waiting import ClosedError, WaitingQueue

QUEUE_LIMIT = 1024
READING_ROUND = 1
"""The same while prompts are being read, a chunk a step."""
MOST_FAILURES = 3
"""Steps in a row that may fail before the scheduler's thread gives up."""


@dataclasses.dataclass(eq=False)
class Task:
  """A request on its way through the scheduler."""

  handle: Handle
  priority: int
  number: int
  """In the order of arrival."""
  sample: int
  to_read: Any
  """Ids of the prompt to read before anything is written."""
  slot: int | None = None
  num_read: int = 0
  """Tokens of the prompt in the slot."""
  is_writing: bool = False
  turn: int | None = None  # in the waiting queue, which sets it
  node: Node | None = None
  """What it holds of the prefix cache, up to `num_read`; None: the store is full."""
  saved: Any = None
  """What was in its slot when a request of higher priority took it."""

  @property
  def principal(self):
    return self.handle.request.principal

  @property
  def writing(self):
    return self.handle.writing

  @property
  def missing(self):
    return self.handle.request.max_new_tokens - len(self.writing.ids)


class Scheduler:
  """Takes requests at any time and writes their texts; `slots` are an engine's."""

  # Threads: `submit` and `cancel` only change what is waiting, under `_changed`; one
  # thread at a time is in `step`, which alone touches slots, running tasks and tree.

  def __init__(
    self, slots, *, queue_limit: int | None = QUEUE_LIMIT, tokens_per_step=MOST,
    seconds_per_step: float | None = None, chunks_per_step: int | None = 1,
  ):  # fmt: skip
    """Takes Slots.

    Args:
      queue_limit: how many requests may wait; None: any number.
      tokens_per_step: how many tokens of each text one `step` writes at most: so long
        a new request or a cancellation waits.
      seconds_per_step: fewer where they would take longer, but one; None: any time.
      chunks_per_step: how many chunks of prompts it reads before; None: all, which
        fills the slots soonest and lets the texts in them wait longest.
    """
    self.slots = slots
    self.prefixes = PrefixCache(slots.num_blocks, slots.chunk)
    self._pace = Pace(tokens_per_step, seconds_per_step)
    self._chunks_per_step = chunks_per_step
    self._waiting = WaitingQueue(queue_limit)
    self._running = {}  # slot -> Task
    self._cancelled = []
    self._num_tasks = 0
    self._tasks = {}  # Handle -> Task, of those that are not over
    self._stepping = threading.RLock()
    self._changed = threading.Condition()
    self._thread = None
    self._is_closed = False
    self.error: BaseException | None = None
    """What ended its thread, after which it takes no request; None: it works."""
    self.listen: Any = None
    """Called after each step and when all ends, in the thread that works, or None."""
    self._num_failures = 0  # in a row
    self.counts = collections.Counter()
    """What happened so far: `admitted`, `preempted`, `steps`, `read` and `reused`
    tokens of prompts, `written` tokens of texts that came to their end."""

  def submit(self, request, priority=0, sample=0):
    """Returns the Handle of a Request; those of higher priority go first.

    `sample` tells texts of the same request apart. Raises QueueFullError where
    `queue_limit` requests wait, ConfigError for what the slots cannot take.
    """
    self.slots.require_fit(request)
    handle = Handle(self, request, whole_number('priority', priority))
    if handle.writing.finish:  # it asks for no token
      handle.end(handle.writing.finish)
      return handle
    to_read = request.prompt_ids
    if not self.slots.reads_whole_prompts:
      to_read = to_read[:-1]  # the first step of writing reads the last one
    with self._changed:
      if self._is_closed or self.error is not None:
        raise ClosedError('the scheduler is closed; make another one.')
      self._waiting.require_room()
      task = Task(handle, handle.priority, self._num_tasks, sample, to_read)
      self._num_tasks += 1
      self._tasks[handle] = task
      self._waiting.put(task)
      self._changed.notify_all()
    return handle

  def require_room(self, count):
    """Raises QueueFullError where not `count` more can wait or get a free slot."""
    free = self.slots.num_slots - len(self._running)
    self._waiting.require_room(max(1, count - max(0, free)))

  def cancel(self, handle):
    """Ends the text of `handle` where it is; without effect on one that is over."""
    with self._changed:
      task = self._tasks.get(handle)
      if task is not None:
        self._cancelled.append(task)
        self._changed.notify_all()

  num_waiting = property(lambda self: len(self._waiting))
  num_running = property(lambda self: len(self._running))
  queue_limit = property(lambda self: self._waiting.limit)

  def step(self):
    """Does one round of work; returns whether any is left.

    Gives free slots to who waits, reads `chunks_per_step` chunks of prompts, and writes
    up to `tokens_per_step` tokens of each text. An error of the device ends all texts.
    """
    with self._stepping:
      try:
        self._end_cancelled()
        self._admit()
        self._read()
        self._write()
      except BaseException as error:
        self._fail(error)
        raise
      self.counts['steps'] += 1
      self._num_failures = 0
      with self._changed:
        self._tell()
        return bool(self._tasks)

  def work_until(self, condition):
    """Returns once `condition()` holds; works, or waits for the thread that does."""
    while not condition():
      if self._thread is None:
        self.step()
      else:
        with self._changed:
          self._changed.wait_for(lambda: condition() or self._thread is None)

  def run(self):
    """Works until nothing is left to do."""
    while self.step():
      pass

  def start(self):
    """Works in a thread of its own from now on, until `close`; returns itself."""
    assert self._thread is None and not self._is_closed
    self._thread = threading.Thread(target=self._serve, name='scheduler', daemon=True)
    self._thread.start()
    return self

  def close(self):
    """Ends all texts as cancelled and frees the slots' memory."""
    with self._changed:
      self._is_closed = True
      self._changed.notify_all()
    if self._thread is not None:
      self._thread.join()
    with self._stepping, self._changed:
      for task in list(self._tasks.values()):
        self._end(task, 'cancelled')
      self._thread = None
      self._tell()
      self.slots.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def _serve(self):
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._tasks or self._is_closed)
        if self._is_closed:
          return
      try:
        self.step()
      except BaseException as error:  # the handles raise it
        self._num_failures += 1
        if isinstance(error, Exception) and self._num_failures < MOST_FAILURES:
          continue
        with self._changed:
          self.error = error
          self._drop_all(error)
        return

  def _tell(self):
    """Wakes who waits for texts."""
    self._changed.notify_all()
    if self.listen is not None:
      self.listen()

  def _end_cancelled(self):
    with self._changed:
      cancelled, self._cancelled = self._cancelled, []
    for task in cancelled:
      if task.handle.ended is None:
        self._end(task, 'cancelled')

  def _end(self, task, reason, error=None):
    with self._changed:
      if task.slot is None:
        self._waiting.remove(task)
      del self._tasks[task.handle]
    self._leave(task)
    task.saved = None
    task.handle.end(reason, error)

  def _leave(self, task):
    """Takes a task out of its slot, if it has one."""
    if task.node is not None:
      self.prefixes.let_go(task.node)
      task.node = None
    if task.slot is not None:
      self.slots.stop(task.slot)
      del self._running[task.slot]
      task.slot = None

  def _admit(self):
    """Gives slots to waiting tasks: free ones, or those of lower priority."""
    while True:
      with self._changed:
        task = self._waiting.first()
        if task is None:
          return
        is_full = len(self._running) == self.slots.num_slots
        other = self._preemptible(task) if is_full else None
        if is_full and other is None:
          return
        self._waiting.take()
      if other is not None:
        self._preempt(other)
      self._enter(task)

  def _enter(self, task):
    """Gives `task` a free slot, with what it had in one before."""
    task.slot = next(i for i in range(self.slots.num_slots) if i not in self._running)
    self._running[task.slot] = task
    self.counts['admitted'] += 1
    task.handle.note_admission()
    if task.saved is not None:
      self.slots.put_back(task.slot, task.saved)
      task.saved = None
      return
    task.num_read, task.handle.reused_tokens = 0, 0
    adapter = task.handle.request.adapter
    task.node = self.prefixes.root_of(adapter, task.principal)
    self.prefixes.hold(task.node)

  def _preemptible(self, task):
    """Returns the running task that has to leave its slot to `task`, or None."""
    last = min(
      self._running.values(), key=lambda other: (other.priority, -other.number)
    )
    if last.priority >= task.priority:
      return None
    # Copies of slots may fill as much memory as the slots.
    num_saved = sum(other.saved is not None for other in self._tasks.values())
    return None if last.is_writing and num_saved >= self.slots.num_slots else last

  def _preempt(self, task):
    # What it has written stays: to read it again would take other programs, whose sums
    # may differ in the last bit. A prompt is read again by the same ones.
    if task.is_writing:
      task.saved = self.slots.take_out(task.slot)
    self._leave(task)
    with self._changed:
      self._waiting.put(task)
    self.counts['preempted'] += 1

  def _read(self):
    """Reads `chunks_per_step` of prompts; copies all that others have read."""
    left = math.inf if self._chunks_per_step is None else self._chunks_per_step
    reading = [task for task in self._running.values() if not task.is_writing]
    for task in sorted(reading, key=lambda task: (-task.priority, task.number)):
      self._reuse(task)
      while left and task.num_read < len(task.to_read):
        self._read_chunk(task)
        self._reuse(task)
        left -= 1
      if task.num_read == len(task.to_read):
        self.slots.start(task.slot, task.writing, task.sample)
        task.is_writing = True
      if not left:
        return

  def _reuse(self, task):
    """Copies what the prefix cache has of the next tokens of `task`."""
    if task.node is None:
      return
    nodes = self.prefixes.match(task.node, task.to_read[task.num_read :])
    if nodes:
      self.slots.load(task.slot, task.num_read, [node.block for node in nodes])
      self.prefixes.move(task.node, nodes[-1])
      task.node = nodes[-1]
      reused = len(nodes) * self.slots.chunk
      task.num_read += reused
      task.handle.reused_tokens += reused
      self.counts['reused'] += reused

  def _read_chunk(self, task):
    start, chunk = task.num_read, self.slots.chunk
    ids = task.to_read[start : start + chunk]
    self.slots.read(task.slot, start, ids, task.handle.request.adapter)
    task.num_read += len(ids)
    self.counts['read'] += len(ids)
    if task.node is None or len(ids) < chunk:
      return
    node = self.prefixes.insert(task.node, ids)
    if node is None:  # all blocks are in use: no block after this one either
      self.prefixes.let_go(task.node)
    else:
      self.slots.save(task.slot, start, node.block)
      self.prefixes.move(task.node, node)
    task.node = node

  def _write(self):
    """Writes the next tokens of all texts whose prompts have been read."""
    writing = [task for task in self._running.values() if task.is_writing]
    if not writing:
      return
    limit = self._limit(writing)
    with self._pace.round(limit):
      self.slots.write(limit)
    for task in writing:
      task.handle.note_progress()
      if task.writing.finish:
        self.counts['written'] += len(task.writing.ids)
        self._end(task, task.writing.finish, task.writing.error)

  def _limit(self, writing):
    """Returns how many tokens of each text to write before the host looks again."""
    if len(writing) < len(self._running):
      return READING_ROUND
    if any(task.writing.masks for task in writing):
      return 1
    missing = [task.missing for task in writing]
    # Who waits is let in as soon as the first text is over.
    limit = min(missing) if len(self._waiting) else max(missing)
    return min(limit, self._pace.tokens())

  def _fail(self, error):
    """Ends all texts with `error`; slots and prefix cache begin anew."""
    with self._changed:
      self._drop_all(error)
    self.prefixes = PrefixCache(self.slots.num_blocks, self.slots.chunk)
    self.slots.reset()

  def _drop_all(self, error):
    for task in self._tasks.values():
      if task.slot is None:
        self._waiting.remove(task)
      task.handle.end('failed', error)
    self._tasks.clear()
    self._running.clear()
    self._tell()
