"""Texts of all kinds, for tokenizers to agree on."""

import random

FRAGMENTS = [
  'the', ' fox', 'Hello', ' world', 'naïve café', 'Straße', 'œuvre', 'e\u0301a\u0308',
  'İstanbul', '世界', '你好，世界。', 'こんにちは', '안녕하세요', 'Привет мир', 'γειά σου',
  'שלום', 'مرحبا بالعالم', 'नमस्ते', 'สวัสดี', '🙂', '👩‍👩‍👧‍👦', '🇩🇪', '🏳️‍🌈', '\u200b', '\ufeff', '\u00a0',
  'def f(x):\n    return x**2\n', '\tif a != b:\n\t\tpass\n', '{"a": [1, 2.5e-3]}',
  '<div class="x">', '</div>', 'https://a.b/c?d=e&f#g', 'x = y;', '// --->', '==', '__init__',
  ' ', '  ', '   ', '    ', '        ', ' ' * 17, ' ' * 40, '\n', '\n\n', '\n\n\n', '\r\n',
  '\t', '\t\t\t', '0', '7', '12345678', '3.14159', '1,000,000', '½', '²', 'ﬁ', '…', '—', '“', '”',
  "don't", "I'LL", '!', '?!', '###', '<bos>', '<eos>', '<unk>', '<pad>', '<unused12>',
  '<start_of_turn>user', '<end_of_turn>', '[multimodal]', '<0x41>', '<s>', '</s>',
  '<|endoftext|>', '\u2581', '\u2581\u2581', 'Ġ', 'A' * 30, 'ab' * 25, '\x00', '\x7f', '\U0010ffff',
]  # fmt: skip


def make(count=1200, seed=0):
  """Returns the fragments, and `count` texts of up to 12 of them in a row."""
  rng = random.Random(seed)
  joined = [
    ''.join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 12)))
    for _ in range(count)
  ]
  return [*FRAGMENTS, *joined]
