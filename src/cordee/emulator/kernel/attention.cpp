// scaled_dot_product_attention with its gradient, by the kernels that the CPU would choose.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_sdp_choice_cpu_dispatch.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/SDPBackend.h>

#include <limits>

#include "attention.h"

namespace cordee {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

at::SDPBackend choice(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const OptionalTensor& mask,
    double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const bool mask_wants_gradient = mask && mask->requires_grad() && at::GradMode::is_enabled();
  if (query.is_nested() || mask_wants_gradient) {
    return at::SDPBackend::math;
  }
  // Past the dispatcher: it reads shapes and dtypes only, which torch.compile's fake tensors have too.
  return static_cast<at::SDPBackend>(
      at::cpu::_fused_sdp_choice(query, key, value, mask, dropout_p, is_causal, scale, enable_gqa));
}

// The fused kernel adds its mask to the scores.
OptionalTensor added_mask(const OptionalTensor& mask, c10::ScalarType dtype) {
  if (!mask || mask->scalar_type() != at::kBool) {
    return mask;
  }
  return at::zeros_like(*mask, dtype).masked_fill_(mask->logical_not(), -std::numeric_limits<double>::infinity());
}

} // namespace

at::Tensor attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const OptionalTensor& mask,
    double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const bool is_fused =
      choice(query, key, value, mask, dropout_p, is_causal, scale, enable_gqa) == at::SDPBackend::flash_attention;
  if (!is_fused) {
    return std::get<0>(at::_scaled_dot_product_attention_math(
        query, key, value, mask, dropout_p, is_causal, /*dropout_mask=*/std::nullopt, scale, enable_gqa));
  }
  return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(
      query, key, value, dropout_p, is_causal, added_mask(mask, query.scalar_type()), scale));
}

} // namespace cordee
