// scaled_dot_product_attention with its gradient, by the kernels that the CPU would choose.
#pragma once

#include <torch/library.h>

namespace cordee {

// Takes the place of the adapter's autograd kernel of aten::scaled_dot_product_attention, which `op` is.
torch::CppFunction make_attention(const c10::OperatorHandle& op);

} // namespace cordee
