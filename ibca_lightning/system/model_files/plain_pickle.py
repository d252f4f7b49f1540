"""What a pickle of torch would do, seen before it is done: `weights_only` keeps code out, and neither size nor time.

torch lets a pickle of 40 bytes make a `bytearray` of any size, or hash a tuple that holds itself twice, sixty times
over. Here its opcodes are counted, and the names it calls must be those that tensors and plain data are made of.
"""

import io
import pickletools
import re
from collections.abc import Collection
from pathlib import Path

from ibca_lightning.system.errors import InputError

MAX_PICKLE = 2**24  # bytes of what stands beside the numbers of tensors: a hundred thousand tensors have less
_MAX_OPCODES = 2**22  # ten thousand tensors and their optimiser's state have a tenth
_MAX_TUPLE = 2**20  # values, those in tuples within written out: as many are hashed where it is a key
_MAX_LONG = 1000  # integers beyond 64 bits: of those any number can have one hash
_LEGACY_PICKLES = 5  # in a file from before torch 1.6: two numbers, the machine, the content, the keys of its storages
_TOO_MANY = "more values than any model has"
_NAMES = re.compile(
    r"collections (OrderedDict|Counter)|(builtins|__builtin__) (set|complex)|torch (Size|device)"
    r"|torch(\.cuda)? (?!Untyped|Typed)\w+Storage|torch\.nn\.parameter Parameter"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
)
_SLOW = re.compile(r"[\W_]*(punycode|idna)[\W_]*", re.IGNORECASE)  # codecs that are quadratic
_TOLD = {
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without values",
    "_rebuild_tensor_v3": "a tensor of 8-bit floats, or of unsigned integers",
}


def require_plain_pickle(path: str | Path, expected: str, fix: str, more: Collection[str] = ()) -> None:
    """Refuse a file of `torch.save` that holds more than tensors and plain data.

    Args:
        path: Of the file, in either format.
        expected: What it should be, for the message.
        fix: What to do instead.
        more: Further names that it may call, such as `argparse Namespace`.

    Raises:
        InputError: Names what it would call, and the value that is such.
        Exception: Of many kinds, as of any file that is damaged.
    """
    import torch

    with open(path, "rb") as file:
        start = file.read(4)
        if start == b"PK\3\4":  # as torch decides it, and read as torch reads it: no other reader of archives agrees
            archive = torch._C.PyTorchFileReader(str(path))
            if archive.get_record_size("data.pkl") > MAX_PICKLE:
                raise InputError(expected, _TOO_MANY, fix)
            content, pickles = archive.get_record("data.pkl"), 1
        else:
            content, pickles = start + file.read(2 * MAX_PICKLE), _LEGACY_PICKLES
    stream = io.BytesIO(content)
    for _ in range(pickles):
        if wrong := _wrong(stream, more):
            raise InputError(expected, wrong, fix)


def _wrong(stream: io.BytesIO, more: Collection[str]) -> str:
    """Look at one pickle; blank where nothing is wrong.

    The stack holds the size of each value, which for all but tuples is 1.
    """
    stack, marks, known = list[int](), list[int](), dict[object, int]()
    text, long, start = "", 0, stream.tell()
    encodes, slowly = "", False  # where bytes are written as text, and whether a slow codec is named
    for number, (opcode, argument, at) in enumerate(pickletools.genops(stream)):
        if number > _MAX_OPCODES or at is None or at - start > MAX_PICKLE:
            return _TOO_MANY
        name = opcode.name
        if encodes and slowly:
            return f"an object _codecs.encode in {encodes!r}"
        if name == "GLOBAL" and argument == "_codecs encode":  # how bytes are written, by latin1
            encodes = encodes or text[:100] or "a value"
        elif name in ("GLOBAL", "INST", "STACK_GLOBAL"):
            if wrong := _unknown(str(argument), more):
                return f"{wrong} in {text[:100]!r}" if text else wrong
        elif name.endswith("PUT"):
            known[argument] = stack[-1]
            continue
        elif name.endswith("GET"):
            stack.append(known[argument])
            continue
        elif name == "MARK":
            marks.append(len(stack))
            continue
        elif isinstance(argument, str):
            text, slowly = argument, slowly or bool(_SLOW.fullmatch(argument))
        elif isinstance(argument, int):
            long += argument.bit_length() > 64
        taken = opcode.stack_before
        if pickletools.markobject in taken:
            first = marks.pop() - taken.index(pickletools.markobject)
        else:
            first = len(stack) - len(taken)
        if first < 0:
            raise ValueError("an empty stack")
        size = 1 + sum(stack[first:]) if name.startswith("TUPLE") else 1
        del stack[first:]
        stack += [size] * len(opcode.stack_after)
        if size > _MAX_TUPLE or long > _MAX_LONG:
            return "a value without measure"
    return ""


def _unknown(called: str, more: Collection[str]) -> str:
    import torch

    module, _, name = called.partition(" ")
    dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
    if dtype or called in more or _NAMES.fullmatch(called):
        return ""
    return _TOLD.get(name) or f"an object {module}.{name}"
