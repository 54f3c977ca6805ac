"""What each route takes, as JSON Schema: what is published is what is checked.

Fields that OpenAI's API has and that change no answer (IGNORED) are taken and left;
those that would (`suffix`, `audio`) are not listed, so they are refused by name.
"""

from gpt_jax.inference.settings import MAX_BIASES
from gpt_jax.inference.token_log_probs import MOST
from gpt_jax.serving.schema import optional

MOST_TOKENS = 1 << 20
"""Of one text, whatever its model can hold, which is checked as well."""
SEEDS = 2**63
MOST_STOPS = 16
MOST_TOOLS = 64


def _number(low, high, text, **more):
  found = {'type': 'number', 'minimum': low, 'maximum': high, 'description': text}
  return optional(found) | more


def _whole(low, high, text):
  return optional(
    {'type': 'integer', 'minimum': low, 'maximum': high, 'description': text}
  )


def _flag(text):
  return optional({'type': 'boolean', 'description': text})


def _texts(text, most, longest=1024):
  one = {'type': 'string', 'minLength': 1, 'maxLength': longest}
  several = {'type': 'array', 'minItems': 1, 'maxItems': most, 'items': one}
  return optional({'anyOf': [one, several], 'description': text})


def _ids(vocab=2**31 - 1):
  item = {'type': 'integer', 'minimum': 0, 'maximum': vocab}
  return {'type': 'array', 'items': item, 'minItems': 1, 'maxItems': MOST_TOKENS}


MODEL = {
  'type': 'string', 'minLength': 1, 'maxLength': 200,
  'description': 'One of those that /v1/models lists.',
}  # fmt: skip
IGNORED = {
  'user': optional({'type': 'string', 'description': 'Taken and left.'}),
  'metadata': optional({'type': 'object', 'description': 'Taken and left.'}),
  'store': _flag('Taken and left: nothing is stored.'),
  'service_tier': optional({'type': 'string', 'description': 'Taken and left.'}),
  'safety_identifier': optional({'type': 'string', 'description': 'Taken and left.'}),
  'prompt_cache_key': optional({'type': 'string', 'description': 'Taken and left.'}),
}
STREAMING = {
  'stream': _flag('Sends the answer as it is written, as server-sent events.'),
  'stream_options': optional(
    {
      'type': 'object',
      'additionalProperties': False,
      'properties': {
        'include_usage': _flag('A last event has the usage.'),
        'include_obfuscation': _flag('Taken and left.'),
      },
    }
  ),
}
OF_RUN = ' Left out: what the config of the run says, section inference.'
SAMPLING = {
  'temperature': _number(0, 100, '0 takes the likeliest token each time.' + OF_RUN),
  'top_p': _number(0, 1, 'Draws from the likeliest with this share.' + OF_RUN),
  'top_k': _whole(0, 2**31 - 1, 'Draws from the k likeliest; 0: all.' + OF_RUN),
  'min_p': _number(0, 1, 'Least share of the likeliest; 0: off.' + OF_RUN),
  'repetition_penalty': _number(0.01, 100, 'Above 1: less repetition.' + OF_RUN),
  'presence_penalty': _number(-2, 2, 'Off the logit of written ids.' + OF_RUN),
  'frequency_penalty': _number(-2, 2, 'The same, each time.' + OF_RUN),
  'logit_bias': optional(
    {
      'type': 'object',
      'maxProperties': MAX_BIASES,
      'additionalProperties': {'type': 'number', 'minimum': -1000, 'maximum': 1000},
      'description': 'Number added to the logit of each id.',
    }
  ),
  'seed': _whole(-SEEDS, SEEDS - 1, 'The same again gives the same text.'),
  'stop': _texts('Ends a text, and is no part of it.', MOST_STOPS),
  'banned': _texts('Never comes about.', MOST_STOPS),
  'regex': optional(
    {
      'type': 'string',
      'minLength': 1,
      'maxLength': 10_000,
      'description': 'An expression that the whole text matches.',
    }  # fmt: skip
  ),
}
N = _whole(1, 128, 'Texts of each prompt, of the seeds seed, seed + 1, ...')

COMPLETIONS = {
  'type': 'object',
  'required': ['model', 'prompt'],
  'additionalProperties': False,
  'properties': {
    'model': MODEL,
    'prompt': {
      'description': 'A text, a list of texts, token ids, or a list of these.',
      'anyOf': [
        {'type': 'string'},
        {'type': 'array', 'items': {'type': 'string'}, 'minItems': 1, 'maxItems': 128},
        _ids(),
        {'type': 'array', 'items': _ids(), 'minItems': 1, 'maxItems': 128},
      ],
    },
    'max_tokens': _whole(0, MOST_TOKENS, 'New tokens at most; default: 16.'),
    'n': N,
    'best_of': _whole(1, 128, 'Writes so many, and gives the n likeliest per token.'),
    'echo': _flag('The text begins with the prompt.'),
    'logprobs': _whole(0, MOST, 'Also of so many likeliest tokens.'),
    **SAMPLING,
    **STREAMING,
    **IGNORED,
  },
}

_PART = {
  'type': 'object',
  'required': ['type', 'text'],
  'additionalProperties': False,
  'properties': {
    'type': {'type': 'string', 'enum': ['text']},
    'text': {'type': 'string'},
  },
}
_CONTENT = {
  'description': 'A text, or parts of type text.',
  'anyOf': [
    {'type': 'string'},
    {'type': 'array', 'items': _PART, 'minItems': 1, 'maxItems': 64},
    {'type': 'null'},
  ],
}
_NAME = {'type': 'string', 'pattern': '^[a-zA-Z0-9_-]{1,64}$', 'minLength': 1,
         'maxLength': 64}  # fmt: skip
_CALL = {
  'type': 'object',
  'required': ['id', 'type', 'function'],
  'properties': {
    'id': {'type': 'string'},
    'type': {'type': 'string', 'enum': ['function']},
    'function': {
      'type': 'object',
      'required': ['name', 'arguments'],
      'properties': {'name': _NAME, 'arguments': {'type': 'string'}},
    },
  },
}
_MESSAGE = {
  'type': 'object',
  'required': ['role'],
  'additionalProperties': False,
  'properties': {
    'role': {
      'type': 'string',
      'enum': ['system', 'developer', 'user', 'assistant', 'tool'],
    },
    'content': _CONTENT,
    'name': optional({'type': 'string', 'description': 'Taken and left.'}),
    'refusal': optional({'type': 'string', 'description': 'Taken and left.'}),
    'tool_calls': optional({'type': 'array', 'items': _CALL, 'maxItems': MOST_TOOLS}),
    'tool_call_id': optional({'type': 'string'}),
  },
}
_TOOL = {
  'type': 'object',
  'required': ['type', 'function'],
  'additionalProperties': False,
  'properties': {
    'type': {'type': 'string', 'enum': ['function']},
    'function': {
      'type': 'object',
      'required': ['name'],
      'additionalProperties': False,
      'properties': {
        'name': _NAME,
        'description': optional({'type': 'string'}),
        'parameters': optional({'type': 'object'}),
        'strict': _flag('Taken and left: calls always follow their schema.'),
      },
    },
  },
}
_TOOL_CHOICE = {
  'description': 'none, auto, required, or one function.',
  'anyOf': [
    {'type': 'string', 'enum': ['none', 'auto', 'required']},
    {
      'type': 'object',
      'required': ['type', 'function'],
      'properties': {
        'type': {'type': 'string', 'enum': ['function']},
        'function': {
          'type': 'object',
          'required': ['name'],
          'properties': {'name': _NAME},
        },
      },
    },
    {'type': 'null'},
  ],
}
_RESPONSE_FORMAT = optional(
  {
    'type': 'object',
    'required': ['type'],
    'additionalProperties': False,
    'description': 'What the whole answer is.',
    'properties': {
      'type': {'type': 'string', 'enum': ['text', 'json_object', 'json_schema']},
      'json_schema': {
        'type': 'object',
        'required': ['name', 'schema'],
        'additionalProperties': False,
        'properties': {
          'name': {'type': 'string'},
          'description': optional({'type': 'string'}),
          'schema': {'type': 'object'},
          'strict': _flag('Taken and left: answers always follow the schema.'),
        },
      },
    },
  }
)
CHAT = {
  'type': 'object',
  'required': ['model', 'messages'],
  'additionalProperties': False,
  'properties': {
    'model': MODEL,
    'messages': {'type': 'array', 'items': _MESSAGE, 'minItems': 1, 'maxItems': 2048},
    'max_completion_tokens': _whole(1, MOST_TOKENS, 'New tokens at most.' + OF_RUN),
    'max_tokens': _whole(1, MOST_TOKENS, 'The same, by its older name.'),
    'n': N,
    'logprobs': _flag('Log-probabilities of the written tokens.'),
    'top_logprobs': _whole(0, MOST, 'Also of so many likeliest tokens.'),
    'response_format': _RESPONSE_FORMAT,
    'tools': optional({'type': 'array', 'items': _TOOL, 'maxItems': MOST_TOOLS}),
    'tool_choice': _TOOL_CHOICE,
    'parallel_tool_calls': _flag('Taken and left: an answer has one call.'),
    **SAMPLING,
    **STREAMING,
    **IGNORED,
  },
}

_INPUTS = {
  'description': 'A text, or a list of texts.',
  'anyOf': [
    {'type': 'string', 'minLength': 1},
    {'type': 'array', 'items': {'type': 'string', 'minLength': 1}, 'minItems': 1},
  ],
}
EMBEDDINGS = {
  'type': 'object',
  'required': ['model', 'input'],
  'additionalProperties': False,
  'properties': {
    'model': MODEL,
    'input': _INPUTS,
    'encoding_format': optional({'type': 'string', 'enum': ['float', 'base64']}),
    'pooling': optional(
      {'type': 'string', 'enum': ['mean', 'first', 'last', 'pooler']}
    ),
    'user': IGNORED['user'],
  },
}
CLASSIFY = {
  'type': 'object',
  'required': ['model', 'input'],
  'additionalProperties': False,
  'properties': {
    'model': MODEL,
    'input': {
      'description': 'A text, an object of the fields of the task, or a list of these.',
      'anyOf': [
        *_INPUTS['anyOf'],
        {'type': 'object', 'minProperties': 1},
        {'type': 'array', 'items': {'type': 'object'}, 'minItems': 1},
      ],
    },
    'user': IGNORED['user'],
  },
}
TOKENIZE = {
  'type': 'object',
  'required': ['model', 'prompt'],
  'additionalProperties': False,
  'properties': {'model': MODEL, 'prompt': {'type': 'string'}},
}
