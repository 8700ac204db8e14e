// scaled_dot_product_attention with its gradient, by the kernels that the CPU would choose.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace cordee {

// As aten::scaled_dot_product_attention.
at::Tensor attention(
    const at::Tensor& query,
    const at::Tensor& key,
    const at::Tensor& value,
    const std::optional<at::Tensor>& mask,
    double dropout_p,
    bool is_causal,
    std::optional<double> scale,
    bool enable_gqa);

} // namespace cordee
