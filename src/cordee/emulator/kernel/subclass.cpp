// Finds tensors that say themselves what an operator does.
#include "subclass.h"

#include <ATen/core/stack.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <algorithm>

namespace cordee {
namespace {

bool is_subclass(const at::Tensor& tensor) {
  return tensor.key_set().has(c10::DispatchKey::Python);
}

bool holds_subclass(const c10::IValue& value) {
  if (value.isTensorList()) {
    const auto tensors = value.toTensorList();
    return std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& one) { return is_subclass(one); });
  }
  return value.isTensor() && is_subclass(value.toTensor());
}

} // namespace

bool has_subclass(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const auto arguments = torch::jit::last(stack, op.schema().arguments().size());
  const bool found = std::any_of(arguments.begin(), arguments.end(), &holds_subclass);
  return found &&
      !c10::impl::TorchDispatchModeTLS::get_mode(c10::impl::TorchDispatchModeKey::FAKE).has_value();
}

} // namespace cordee
