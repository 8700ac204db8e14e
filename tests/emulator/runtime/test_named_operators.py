"""The operators that the adapter asks for by name, past PyTorch's dispatcher."""

from array import array
from ctypes import c_char_p, c_float, c_int64, c_void_p
from dataclasses import dataclass

import pytest
from calls import NOT_SUPPORTED, Acl, Refused

FLOAT, INT32, ND = 0, 3, 2


@dataclass
class Tensor:
    """A descriptor and its data: device memory, or bytes of the host."""

    shape: tuple[int, ...]
    data: int | bytes
    type: int = FLOAT

    def made(self, acl: Acl) -> tuple[int, int]:
        for name in ("aclCreateTensorDesc", "aclCreateDataBuffer"):
            getattr(acl.library, name).restype = c_void_p
        shape = (c_int64 * len(self.shape))(*self.shape)
        count = 1
        for size in self.shape:
            count *= size
        data = c_char_p(self.data) if isinstance(self.data, bytes) else c_void_p(self.data)
        return (
            acl.library.aclCreateTensorDesc(self.type, len(self.shape), shape, ND),
            acl.library.aclCreateDataBuffer(data, c_int64(4 * count)),
        )


class Caller:
    """Calls operators by name, on the default stream."""

    def __init__(self, acl: Acl, libraries: str) -> None:
        self.acl = acl
        self.compiler = Acl(libraries, "libacl_op_compiler.so")

    def call(
        self, name: str, inputs: list[Tensor], output: Tensor, **attributes: str | bool
    ) -> None:
        acl = self.acl
        acl.library.aclopCreateAttr.restype = c_void_p
        made = c_void_p(acl.library.aclopCreateAttr())
        for key, value in attributes.items():
            if isinstance(value, str):
                acl.aclopSetAttrString(made, key.encode(), value.encode())
            else:
                acl.aclopSetAttrBool(made, key.encode(), int(value))
        pairs, result = [tensor.made(acl) for tensor in inputs], output.made(acl)
        descs, data = ((c_void_p * len(pairs))(*column) for column in zip(*pairs, strict=True))
        out_desc, out_data = ((c_void_p * 1)(one) for one in result)
        self.compiler.aclopCompileAndExecute(
            name.encode(), len(pairs), descs, data, 1, out_desc, out_data, made, 0, 0, None, None
        )
        acl.aclrtSynchronizeStream(None)

    def floats(self, device: int, count: int) -> list[float]:
        return list(array("f", self.acl.read(device, 4 * count)))

    def device(self, *values: float) -> int:
        memory = self.acl.malloc(4 * len(values))
        self.acl.write(memory, array("f", values).tobytes())
        return memory


@pytest.fixture
def caller(acl: Acl, libraries: str) -> Caller:
    return Caller(acl, libraries)


def test_fill_takes_its_value_from_the_host(caller: Caller) -> None:
    out = caller.device(0, 0, 0, 0)
    dims = Tensor((1,), array("i", [3]).tobytes(), INT32)
    caller.call("Fill", [dims, Tensor((1,), bytes(c_float(2.5)))], Tensor((3,), out))
    assert caller.floats(out, 4) == [2.5, 2.5, 2.5, 0]


def test_fill_takes_its_value_from_the_device(caller: Caller) -> None:
    out, value = caller.device(0, 0), caller.device(7)
    dims = Tensor((1,), array("i", [2]).tobytes(), INT32)
    caller.call("Fill", [dims, Tensor((1,), value)], Tensor((2,), out))
    assert caller.floats(out, 2) == [7, 7]


def _pad(caller: Caller, mode: str = "constant") -> list[float]:
    x, border, out = caller.device(1, 2, 3, 4, 5, 6), caller.device(9), caller.device(*[0.0] * 20)
    paddings = Tensor((4,), array("i", [1, 1, 0, 2]).tobytes(), INT32)
    caller.call(
        "PadV3",
        [Tensor((2, 3), x), paddings, Tensor((1,), border)],
        Tensor((4, 5), out),
        mode=mode,
        paddings_contiguous=True,
    )
    return caller.floats(out, 20)


def test_pad_puts_a_border_around_a_tensor(caller: Caller) -> None:
    rows = [9, 9, 9, 9, 9], [1, 2, 3, 9, 9], [4, 5, 6, 9, 9], [9, 9, 9, 9, 9]
    assert _pad(caller) == [value for row in rows for value in row]


def test_pad_in_another_mode_is_refused(caller: Caller) -> None:
    with pytest.raises(Refused) as refused:
        _pad(caller, "reflect")
    assert refused.value.code == NOT_SUPPORTED
    assert "PadV3" in refused.value.why
