"""A WordPiece tokenizer of a few pieces, as BERT's files have it."""

import tokenizers as library

from gpt_jax.data.library_tokenizer import LibraryTokenizer

SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]')


class TinyWordPiece(LibraryTokenizer):
  def piece(self, token_id):
    return self.library_model.id_to_token(int(token_id))


def wordpiece(*pieces):
  """Returns an uncased WordPiece tokenizer with these pieces; [SEP] ends a text."""
  vocab = {piece: i for i, piece in enumerate((*SPECIAL, *pieces))}
  model = library.Tokenizer(library.models.WordPiece(vocab, unk_token='[UNK]'))
  model.normalizer = library.normalizers.BertNormalizer(lowercase=True)
  model.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
  model.decoder = library.decoders.WordPiece()
  model.add_special_tokens(list(SPECIAL))
  return TinyWordPiece(model, 'json', eos_token='[SEP]')
