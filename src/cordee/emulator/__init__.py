"""A virtual Ascend: the real `torch_npu` runs on it, with no hardware and no CANN."""
