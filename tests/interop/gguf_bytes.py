"""GGUF files written by hand, byte by byte, as the format's description says."""

import struct

import numpy as np

KINDS = {bool: 7, str: 8, int: 4, float: 6}
SCALARS = {4: '<I', 5: '<i', 6: '<f', 7: '<?', 10: '<Q'}
ARRAYS = {'u4': 4, 'i4': 5, 'f4': 6, 'b1': 7, 'u8': 10}


def text(value):
  content = value.encode()
  return struct.pack('<Q', len(content)) + content


def value_bytes(value):
  """Returns type and bytes of a field: numbers as 32 bits, arrays by their dtype."""
  if isinstance(value, np.ndarray):
    kind = ARRAYS[value.dtype.str[1:]]
    return struct.pack('<IIQ', 9, kind, len(value)) + value.tobytes()
  if isinstance(value, list):
    return struct.pack('<IIQ', 9, 8, len(value)) + b''.join(map(text, value))
  kind = KINDS[type(value)]
  return struct.pack('<I', kind) + (
    text(value) if kind == 8 else struct.pack(SCALARS[kind], value)
  )


def padded(content, alignment=32):
  return content + b'\0' * (-len(content) % alignment)


def make(fields, tensors, *, version=3, alignment=32):
  """Returns the bytes of a file, and how many of them are its header.

  `tensors`: name -> array, written as float32, or as (number, raw bytes, shape).
  """
  header = b'GGUF' + struct.pack('<IQQ', version, len(tensors), len(fields))
  for key, value in fields.items():
    header += text(key) + value_bytes(value)
  data = b''
  for name, value in tensors.items():
    if isinstance(value, tuple):
      kind, content, shape = value
    else:
      kind, content, shape = 0, value.astype('<f4').tobytes(), value.shape
    header += text(name) + struct.pack('<I', len(shape))
    header += struct.pack(f'<{len(shape)}Q', *reversed(shape))
    header += struct.pack('<IQ', kind, len(data))
    data += padded(content, alignment)
  return padded(header, alignment) + data, len(header)


def write(path, fields, tensors, **options):
  """Writes such a file; returns its path."""
  path.write_bytes(make(fields, tensors, **options)[0])
  return path
