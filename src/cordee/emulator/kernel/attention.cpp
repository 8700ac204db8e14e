// scaled_dot_product_attention with its gradient, by the kernels that the CPU would choose.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_sdp_choice_cpu_dispatch.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/SDPBackend.h>

#include <limits>
#include <memory>

#include "attention.h"
#include "subclass.h"

namespace cordee {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// The adapter fuses whatever backends a program allows, and so also where it allows none that the CPU has.
class SomeBackend {
 public:
  SomeBackend() : none_(!context_.userEnabledFlashSDP() && !context_.userEnabledMathSDP()) {
    allow(true);
  }
  ~SomeBackend() {
    allow(false);
  }

 private:
  void allow(bool allowed) {
    if (none_) {
      context_.setSDPUseFlash(allowed);
      context_.setSDPUseMath(allowed);
    }
  }

  at::Context& context_ = at::globalContext();
  const bool none_;
};

at::SDPBackend choice(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const OptionalTensor& mask,
    double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const bool mask_wants_gradient = mask && mask->requires_grad() && at::GradMode::is_enabled();
  if (query.is_nested() || mask_wants_gradient) {
    return at::SDPBackend::math;
  }
  const SomeBackend guard;
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

class Attention final : public c10::OperatorKernel {
 public:
  explicit Attention(const c10::OperatorHandle& op)
      : adapters_(op.getComputedKernelForDispatchKey(c10::DispatchKey::AutogradPrivateUse1)),
        ours_(c10::KernelFunction::makeFromUnboxedRuntimeFunction(&attention)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
    if (has_subclass(op, *stack)) {
      adapters_.callBoxed(op, keys, stack);
    } else {
      ours_.callBoxed(op, keys, stack);
    }
  }

 private:
  c10::SafeKernelFunction adapters_;
  c10::KernelFunction ours_;
};

} // namespace

torch::CppFunction make_attention(const c10::OperatorHandle& op) {
  return torch::CppFunction::makeFromBoxedFunctor(std::make_unique<Attention>(op));
}

} // namespace cordee
