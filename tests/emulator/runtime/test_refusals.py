"""What is not emulated is refused by name."""

from ctypes import byref, c_int, c_void_p, create_string_buffer

import pytest
from calls import NOT_SUPPORTED, Acl, Refused


def test_an_operator_asked_for_by_name_is_refused_by_name(acl: Acl, libraries: str) -> None:
    compiler = Acl(libraries, "libacl_op_compiler.so")
    nothing = [None] * 2
    with pytest.raises(Refused) as refused:
        compiler.aclopCompileAndExecute(b"Cast", 0, *nothing, 0, *nothing, None, 0, 0, None, None)
    assert refused.value.code == NOT_SUPPORTED
    assert "operator Cast" in refused.value.why


def test_a_compiled_kernel_cannot_be_loaded(acl: Acl) -> None:
    with pytest.raises(Refused, match="compiled device kernel"):
        acl.aclrtBinaryLoadFromData(b"\x7fELF", 4, None, byref(c_void_p()))


def test_capturing_a_graph_is_refused_and_nothing_is_ever_captured(acl: Acl) -> None:
    stream, status = acl.stream(), c_int(7)
    acl.aclmdlRICaptureGetInfo(stream, byref(status), None)
    assert status.value == 0
    with pytest.raises(Refused, match="NPUGraph"):
        acl.aclmdlRICaptureBegin(stream, 0)


def test_compile_options_are_kept(acl: Acl, libraries: str) -> None:
    compiler, value = Acl(libraries, "libacl_op_compiler.so"), create_string_buffer(32)
    compiler.aclSetCompileopt(10, b"disable")
    assert compiler.library.aclGetCompileoptSize(10) == len("disable") + 1
    compiler.aclGetCompileopt(10, value, 32)
    assert value.value == b"disable"


def test_functions_that_the_adapter_looks_up_elsewhere_are_found_there(libraries: str) -> None:
    compiler = Acl(libraries, "libacl_op_compiler.so")
    for name in ("aclrtSetSysParamOpt", "aclrtGetSysParamOpt", "aclrtCtxSetSysParamOpt"):
        assert getattr(compiler.library, name)


def test_starting_a_profile_says_that_none_is_made(run) -> None:
    out = run(
        """
        import ctypes
        acl = on_device()
        create = acl.library.aclprofCreateConfig
        create.restype = ctypes.c_void_p
        configuration = ctypes.c_void_p(create(None, 0, 0, None, ctypes.c_uint64(2)))
        os.dup2(1, 2)
        acl.aclprofInit(b"/tmp", 4)
        for _ in range(2):
            acl.aclprofStart(configuration)
            acl.aclprofStop(configuration)
        """
    )
    assert out == "cordee: profiling an emulated chip records nothing of the device"


def test_a_failure_is_printed_where_a_log_is_asked_for(start) -> None:
    child = start("acl = on_device()\nacl.malloc(0)", CORDEE_LOG="1")
    _, errors = child.communicate(timeout=60)
    assert "cordee: aclrtMalloc: size is 0" in errors
