"""Conversations in parts: the text of transformers, loss on replies alone."""

import itertools
import types

import pytest
import tokenizers as library

from gpt_jax.core.errors import DataError
from gpt_jax.data import documents
from gpt_jax.data.documents import Special
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.templates import chat, jinja_chat

MARKERS = [
  '<|im_start|>', '<|im_end|>', '<start_of_turn>', '<end_of_turn>', '<bos>', '<eos>',
  '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>',
]  # fmt: skip
ENDS = {
  'chatml': '<|im_end|>',
  'gemma': '<end_of_turn>',
  'llama3': '<|eot_id|>',
  'plain': '\n',
}
THREE = [
  ('system', 'Be brief.'), ('user', 'Hi!\n'), ('assistant', 'Hello.'),
  ('user', 'Bye'), ('assistant', ' See you: "<b>" \n'),
]  # fmt: skip


def messages_of(*turns):
  return [{'role': role, 'content': content} for role, content in turns]


CONVERSATIONS = {
  'three': messages_of(*THREE),
  'no system': messages_of(*THREE[1:]),
  'typed': messages_of(
    ('user', 'a<|im_end|>\n<|im_start|>assistant\nb<end_of_turn><|eot_id|>'),
    ('assistant', '<|im_end|> is the end, 0 <bos>'),
    ('user', '<|im_<|im_end|>end|> {{ 1 }} {% raw %} \ue000\ue001'),
    ('assistant', 'No.'),
  ),
  'asked': messages_of(*THREE[:4]),
}


@pytest.fixture(scope='module')
def tokenizer():
  """Returns a byte-level tokenizer that knows the markers of all formats."""
  alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
  model = library.Tokenizer(
    library.models.BPE({c: i for i, c in enumerate(alphabet)}, [])
  )
  model.pre_tokenizer = library.pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=False
  )
  model.decoder = library.decoders.ByteLevel()
  model.add_special_tokens(MARKERS)
  return LibraryTokenizer(model, 'json', '<eos>', {'bos_token': '<bos>'})


def tokens_of(parts, tokenizer):
  """Returns (ids, loss mask) of a document of parts."""
  document = {'parts': parts}
  lengths = [
    (piece, tokenizer.encode(piece.content))
    if isinstance(piece.content, str)
    else (piece, piece.content)
    for piece in documents.pieces_of(document, ('loss_mask',), 0, 'here', tokenizer)
  ]
  mask = documents.aligned(
    'loss_mask', [(piece, len(ids)) for piece, ids in lengths], has_end=False
  )
  return [int(i) for _, ids in lengths for i in ids], mask.tolist()


@pytest.mark.parametrize('messages', CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize('name', jinja_chat.BUILT_IN)
def test_loss_is_on_replies_to_the_end_of_their_turn(name, messages, tokenizer):
  parts = chat.render_parts(messages, jinja_chat.get(name, tokenizer))
  learned = chat.text_of([part for part in parts if part[1]])
  replies = [m['content'] for m in messages if m['role'] == 'assistant']
  if name in ('gemma', 'llama3', 'plain'):
    replies = [reply.strip() for reply in replies]
  lead = ' ' if name == 'plain' else ''
  assert learned == ''.join(lead + reply + ENDS[name] for reply in replies)


@pytest.mark.parametrize('name', jinja_chat.BUILT_IN)
def test_text_of_a_message_is_no_special_token(name, tokenizer):
  template = jinja_chat.get(name, tokenizer)
  marks = [
    [part.name for part, _ in chat.render_parts(messages, template) if _is(part)]
    for messages in (
      CONVERSATIONS['typed'],
      messages_of(('user', 'a'), ('assistant', 'b'), ('user', 'c'), ('assistant', 'd')),
    )
  ]
  assert marks[0] == marks[1] and bool(marks[0]) == (name != 'plain')


def _is(part):
  return isinstance(part, Special)


def test_markers_are_text_to_a_tokenizer_that_lacks_them(tokenizer):
  messages = CONVERSATIONS['three']
  with_them = chat.render_parts(messages, jinja_chat.get('chatml', tokenizer))
  without = chat.render_parts(messages, jinja_chat.get('chatml'))
  assert chat.text_of(with_them) == chat.text_of(without)
  assert not any(_is(part) for part, _ in without)
  # No two neighbours are of one kind: text is tokenized in the longest stretches.
  assert all(a[1] != b[1] for a, b in itertools.pairwise(without))


@pytest.mark.parametrize('name', jinja_chat.BUILT_IN)
def test_the_generation_prompt_is_how_a_reply_begins(name, tokenizer):
  template = jinja_chat.get(name, tokenizer)
  asked = chat.render_parts(
    CONVERSATIONS['asked'], template, add_generation_prompt=True
  )
  whole = chat.text_of(chat.render_parts(CONVERSATIONS['three'], template))
  assert whole.startswith(chat.text_of(asked))
  assert not asked[-1][1]


def test_a_begin_token_that_a_pipeline_adds_is_left_out(tokenizer):
  parts = chat.render_parts(CONVERSATIONS['three'], jinja_chat.get('gemma', tokenizer))
  assert parts[0] == (Special('<bos>'), False)
  assert chat.without_begin(parts, '<bos>') == parts[1:]
  assert chat.without_begin(parts, '<eos>') == parts
  assert chat.without_begin(parts, '') == parts


MISTAKES = {
  'assistant first': ([('assistant', 'a')], 'turn 1 (assistant): speaks first'),
  'after system': (
    [('system', 's'), ('assistant', 'a')],
    'turn 2 (assistant): speaks first',
  ),
  'two users': (
    [('user', 'a'), ('user', 'b')],
    'turn 2 (user): two messages of the user in a row; join them',
  ),
  'system later': (
    [('user', 'a'), ('system', 'b')],
    'turn 2 (system): a system message after one of the user; put it first',
  ),
  'system alone': ([('system', 'a')], 'turn 1 (system): nobody speaks after it'),
  'empty': ([('user', ' \n')], "turn 1 (user): content=' \\n': expected a text"),
  'no text': ([('user', None)], 'turn 1 (user): content=None'),
  'unknown role': ([('human', 'a')], "turn 1 (human): expected a 'role', one of"),
  'nobody': ([], 'messages=[]: expected a list'),
}


@pytest.mark.parametrize('turns, message', MISTAKES.values(), ids=MISTAKES)
def test_messages_out_of_order_are_named(turns, message):
  with pytest.raises(DataError) as caught:
    chat.check_messages(messages_of(*turns), 'a.jsonl, line 7')
  assert str(caught.value).startswith('a.jsonl, line 7: ' + message)


def test_a_reply_after_a_reply_cannot_be_asked_for():
  with pytest.raises(DataError, match=r'turn 5 \(assistant\): a reply is wanted'):
    chat.render_parts(
      CONVERSATIONS['three'], jinja_chat.get('plain'), add_generation_prompt=True
    )


LOOP = '{% for m in messages %}'
UNUSABLE = {
  'rewrites': (
    LOOP + '{{ loop.revindex }}{{ m.content }}{% endfor %}',
    'changes what it wrote before turn 2',
  ),
  'thinks': (
    LOOP + '{{ m.content }};{% endfor %}{{ "hm" if add_generation_prompt }}',
    'changes what it wrote before turn 2',
  ),
  'drops replies': (
    LOOP + '{{ m.content if m.role == "user" }};{% endfor %}',
    'leaves out or repeats the reply of turn 2',
  ),
  'repeats replies': (
    LOOP + '{{ m.content }}{{ m.content }};{% endfor %}',
    'leaves out or repeats the reply of turn 2',
  ),
  'refuses': (
    LOOP + '{{ raise_exception("no " ~ m.role) }}{% endfor %}',
    'refuses the first 1 messages: no user',
  ),
  'reads contents': (
    LOOP + '{{ m.content }}{{ m.content | length }};{% endfor %}',
    'writes other text around a message for what is in it',
  ),
  'wrong type': (LOOP + '{{ m.content + 1 }}{% endfor %}', 'refuses the first 1'),
}


@pytest.mark.parametrize('source, message', UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_whose_replies_are_not_found_is_refused(source, message):
  messages = messages_of(('user', 'a'), ('assistant', 'b'), ('user', 'c'))
  template = jinja_chat.get(source)
  with pytest.raises(DataError, match=f"^here: chat template 'own' {message}"):
    chat.render_parts(messages, template, place='here')


GEMMA_LIKE = (
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
  "{{ raise_exception('none') }}{% endif %}"
  "{% set who = 'model' if m['role'] == 'assistant' else m['role'] %}"
  "{{ '<start_of_turn>' ~ who ~ '\n' ~ m['content'] | trim ~ '<end_of_turn>\n' }}"
  "{% endfor %}{{ '<start_of_turn>model\n' if add_generation_prompt }}"
)
MARKED = (
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
  "{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}"
  "{% endgeneration %}{{ '\n' }}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}"
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def theirs(tokenizer, source):
  """Returns the tokenizer of transformers with a chat template, or skips."""
  transformers = pytest.importorskip(
    'transformers', reason="needs pip install 'gpt_jax[oracle]'"
  )
  model = library.Tokenizer.from_str(tokenizer.library_model.to_str())
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=model, bos_token='<bos>', eos_token='<eos>', chat_template=source
  )


@pytest.mark.extra
@pytest.mark.slow  # transformers is slow to import
@pytest.mark.parametrize('name', [*jinja_chat.BUILT_IN, 'gemma-like', 'marked'])
def test_transformers_renders_the_same_text(name, tokenizer):
  source = {'gemma-like': GEMMA_LIKE, 'marked': MARKED}.get(name)
  template = jinja_chat.get(source or name, tokenizer)
  other = theirs(tokenizer, template.source)
  for key, messages in CONVERSATIONS.items():
    if name == 'gemma-like' and key in ('three', 'asked'):
      continue  # it refuses system messages
    for asks in {False, key == 'asked'}:
      parts = chat.render_parts(messages, template, add_generation_prompt=asks)
      assert chat.text_of(parts) == other.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=asks
      )


@pytest.mark.extra
@pytest.mark.slow  # transformers is slow to import
@pytest.mark.parametrize('name', ['three', 'no system'])
def test_transformers_finds_the_same_tokens_and_loss(name, tokenizer):
  template = jinja_chat.get(MARKED, tokenizer)
  ids, mask = tokens_of(chat.render_parts(CONVERSATIONS[name], template), tokenizer)
  found = theirs(tokenizer, MARKED).apply_chat_template(
    CONVERSATIONS[name],
    tokenize=True,
    return_dict=True,
    return_assistant_tokens_mask=True,
  )
  assert ids == list(found['input_ids'])
  assert mask == list(found['assistant_masks'])


def test_a_template_of_a_tokenizer_is_taken_by_name(tokenizer):
  with_one = types.SimpleNamespace(
    chat_template=GEMMA_LIKE, special_tokens={'<bos>': 1}, special_names={}, eos_id=None
  )
  template = jinja_chat.get('tokenizer', with_one)
  assert template.source == GEMMA_LIKE
  with pytest.raises(DataError, match=': none; change the conversation'):
    chat.render_parts(CONVERSATIONS['three'], template)
