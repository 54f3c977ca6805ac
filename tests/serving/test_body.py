"""Bodies are strict JSON within limits; every error says which field it is."""

import asyncio

import pytest

from gpt_jax.serving import body
from gpt_jax.serving.errors import ApiError

JSON = (b'content-type', b'application/json')


def refused(content):
  with pytest.raises(ApiError) as caught:
    body.parse(content)
  assert caught.value.status == 400
  return caught.value


def test_a_json_object_is_a_dict():
  text = '{"a": [1, 2.5, -3], "b": {"c": "\\u00e9\\ud83d\\ude00"}, "d": null}'
  assert body.parse(text.encode()) == {
    'a': [1, 2.5, -3], 'b': {'c': 'é😀'}, 'd': None,
  }  # fmt: skip


@pytest.mark.parametrize(
  'content, named',
  [
    (b'{"a": {"b": NaN}}', 'a.b'),
    (b'{"a": [1, Infinity]}', 'a[1]'),
    (b'{"seed": 1e999}', 'seed'),
    (b'{"seed": %s}' % (b'9' * 5000), 'seed'),
    (b'{"a": 1, "a": 2}', 'a'),
    (b'{"x": {"b": 1, "b": 2}}', 'b'),
    (b'{"a": "\\ud800"}', 'a'),
    (b'{"a": ["x", "\\udc00"]}', 'a[1]'),
    (b'{"a": {"\\ud800": 1}}', 'a'),
  ],
)
def test_what_json_should_not_have_is_named(content, named):
  assert refused(content).param == named


@pytest.mark.parametrize(
  'content',
  [b'', b'[]', b'1', b'{', b'{"a": "\xff"}', b'\xef\xbb\xbf{}', b'[' * 100_000],
)
def test_what_is_no_object_is_refused(content):
  refused(content)


def test_nesting_ends_at_a_limit():
  def nested(depth):
    return b'{"a": ' + b'[' * depth + b'0' + b']' * depth + b'}'

  body.parse(nested(body.MAX_DEPTH - 1))
  assert str(body.MAX_DEPTH) in refused(nested(body.MAX_DEPTH)).message


def read(*parts, headers=(), wait=0.0, max_bytes=100, **more):
  """Reads parts as a server sends them; returns the body."""

  async def run():
    messages = [
      {'type': 'http.request', 'body': part, 'more_body': i < len(parts) - 1}
      for i, part in enumerate(parts)
    ]

    async def receive():
      await asyncio.sleep(wait)
      return messages.pop(0)

    return await body.read(receive, [JSON, *headers], max_bytes, seconds=0.05)

  return asyncio.run(run())


LENGTH = (b'content-length', b'5')


def test_a_body_comes_in_parts():
  assert read(b'{"a"', b': 1}', headers=[(b'content-length', b'8')]) == b'{"a": 1}'
  assert read(b'{}', headers=[(b'transfer-encoding', b'chunked')]) == b'{}'


@pytest.mark.parametrize(
  'status, parts, headers',
  [
    (411, [b'{}'], []),
    (413, [], [(b'content-length', b'10000000000')]),
    (413, [b'x' * 60, b'x' * 60], [(b'transfer-encoding', b'chunked')]),
    (400, [], [LENGTH, (b'transfer-encoding', b'chunked')]),
  ],
)
def test_bodies_beyond_the_limits_are_refused(status, parts, headers):
  with pytest.raises(ApiError) as caught:
    read(*parts, headers=headers)
  assert caught.value.status == status
  assert caught.value.headers['connection'] == 'close'


def test_a_slow_body_is_not_waited_for():
  with pytest.raises(ApiError) as caught:
    read(b'{}', headers=[LENGTH], wait=0.2)
  assert caught.value.status == 408


def test_forms_of_other_pages_are_refused():
  async def run():
    kind = (b'content-type', b'text/plain')
    await body.read(None, [kind, LENGTH], 100, 1)

  with pytest.raises(ApiError) as caught:
    asyncio.run(run())
  assert caught.value.status == 415
