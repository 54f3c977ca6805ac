"""How JSON can end soon: a short way to a text that the schema takes."""

import string

_LETTERS = (string.digits + string.ascii_letters).encode()
_CLOSING = b'}]",:'
_INSIDE = b'"}]:,'  # of a string the quote ends, nothing else
_LAST = b'{[ \t\n\r\\'
_FEW = 8  # next bytes; where there are more, this is the inside of a string
_TURNS = 200  # that a search may take, beside the way
_DEPTHS = (32, 256, 2048)  # bytes of an ending that are searched for one after another


def _ordered(first):
  rest = [i for i in range(256) if i not in first and i not in _LETTERS + _LAST]
  return [*first, *_LETTERS, *rest, *_LAST]


_ORDERS = {True: _ordered(_CLOSING), False: _ordered(_INSIDE)}


def find(matcher, spelling):
  """Returns the ids of a short ending of the text that `matcher` has read; None: none.

  `matcher` reads bytes. Looks for one depth first, closing brackets before all else: an
  ending, seldom much longer than the shortest.
  """
  if matcher.is_accepting():
    return []
  for depth in _DEPTHS:
    content = _search(matcher, spelling, depth)
    ids = None if content is None else spelling.ids(content)
    if ids is not None:
      return ids
  return None


def _search(start, spelling, depth):
  """Returns the bytes of an ending of at most `depth`, None if none is found."""
  path, stack, state = bytearray(), [], start.deep_copy()
  for _ in range(2 * depth + _TURNS):
    forced = state.compute_ff_bytes()
    if forced and set(forced) <= spelling.bytes:
      state.consume_tokens(list(forced))
      path += forced
    if state.is_accepting() and len(path) <= depth:
      return bytes(path)
    if len(path) < depth and not state.is_stopped():
      stack.append((state, len(path), _next_bytes(state, spelling), set()))
    state = _next_state(path, stack)
    if state is None:
      return None
  return None


def _next_state(path, stack):
  """Returns the state after the next byte that is untried, None if there is none."""
  while stack:
    state, length, options, seen = stack[-1]
    for byte in options:
      child = state.deep_copy()
      child.consume_token(byte)
      # Bytes after which the same may follow lead to the same place, nearly always.
      after = child.compute_bitmask()
      if after not in seen:
        seen.add(after)
        del path[length:]
        path.append(byte)
        return child
    stack.pop()
  return None


def _next_bytes(state, spelling):
  """Yields the bytes that may come next, promising ones first."""
  bits = int.from_bytes(state.compute_bitmask()[:32], 'little')
  for byte in _ORDERS[bits.bit_count() <= _FEW]:
    if bits >> byte & 1 and byte in spelling.bytes:
      yield byte
