"""Where the vendor says what its operators do: pages, code and tests of github.com/Ascend/op-plugin."""

REPOSITORY = "github.com/Ascend/op-plugin"
CONFIG = f"{REPOSITORY} op_plugin/config/op_plugin_functions.yaml"


def page_of(operator: str, *, beta: bool = False) -> str:
    """The page about `operator`, such as "npu_add_rms_norm"; `beta` says that its file's name does."""
    prefix = "（beta）" if beta else ""
    return f"{REPOSITORY} docs/zh/custom_APIs/torch_npu/{prefix}torch_npu-{operator}.md"


def code_of(file: str) -> str:
    """The code in `file`, such as "opapi/CastKernelNpuOpApi.cpp"."""
    return f"{REPOSITORY} op_plugin/ops/{file}"


def test_of(file: str) -> str:
    """The test in `file`, such as "test_base_ops/test_ifmr.py"."""
    return f"{REPOSITORY} test/{file}"
