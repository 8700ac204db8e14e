"""Matrix products: plain, quantised, transposed and fused with what follows them."""

from cordee.emulator.ops.matmul import plain as plain
from cordee.emulator.ops.matmul import quantised as quantised
from cordee.emulator.ops.matmul import weight_quantised as weight_quantised
