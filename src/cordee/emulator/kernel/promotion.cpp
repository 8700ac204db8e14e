// Half precision as the chip computes it: in float32 inside an operator, rounded once at the end.
#include "promotion.h"

#include <ATen/Functions.h>

#include <optional>
#include <string_view>

#include "device_memory.h"

namespace cordee {
namespace {

using torch::jit::Stack;

bool is_half(const at::Tensor& tensor) {
  return tensor.defined() && (tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16);
}

std::optional<c10::ScalarType> half_among(c10::ArrayRef<c10::IValue> arguments) {
  for (const c10::IValue& value : arguments) {
    if (value.isTensor() && is_half(value.toTensor())) {
      return value.toTensor().scalar_type();
    }
    if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        if (is_half(tensor)) {
          return tensor.scalar_type();
        }
      }
    }
  }
  return std::nullopt;
}

// How CPU kernels say that they have no code for a dtype.
bool lacks_dtype(std::string_view message) {
  for (std::string_view words : {"not implemented for", "Unsupported datatype", "not supported for", "does not support", "dtypes not supported"}) {
    if (message.find(words) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

c10::IValue in_float(const c10::IValue& value) {
  if (value.isTensor() && is_half(value.toTensor())) {
    return value.toTensor().to(at::kFloat);
  }
  if (value.isTensorList()) {
    std::vector<at::Tensor> tensors = value.toTensorVector();
    for (at::Tensor& tensor : tensors) {
      tensor = is_half(tensor) ? tensor.to(at::kFloat) : tensor;
    }
    return tensors;
  }
  return value;
}

void copy_back(const at::Tensor& original, const at::Tensor& computed) {
  if (original.sizes() != computed.sizes()) {
    original.resize_(computed.sizes());
  }
  original.copy_(computed);
}

// One call in float32: which original stands for which copy, and how results are rounded.
class FloatCall {
 public:
  FloatCall(const c10::OperatorHandle& target, c10::ScalarType half, uint64_t float_results, c10::Device device)
      : target_(target), half_(half), float_results_(float_results), device_(device) {}

  void operator()(Stack* stack) {
    const auto& arguments = target_.schema().arguments();
    originals_ = torch::jit::pop(*stack, arguments.size());
    for (size_t i = 0; i < originals_.size(); ++i) {
      copies_.push_back(names_half(arguments[i], originals_[i]) ? c10::IValue(at::kFloat) : in_float(originals_[i]));
      stack->push_back(copies_.back());
    }
    target_.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (arguments[i].alias_info() && arguments[i].alias_info()->isWrite()) {
        write(originals_[i], copies_[i]);
      }
    }
    const size_t results = target_.schema().returns().size();
    for (size_t i = 0; i < results; ++i) {
      if (!(float_results_ >> i & 1)) {
        round((*stack)[stack->size() - results + i]);
      }
    }
  }

 private:
  // The dtype that the result is to have, and is rounded to in the end.
  bool names_half(const c10::Argument& argument, const c10::IValue& value) const {
    const auto& type = argument.real_type();
    const auto& inner = type->kind() == c10::TypeKind::OptionalType ? type->containedType(0) : type;
    return inner->kind() == c10::TypeKind::ScalarTypeType && value.isInt() &&
        value.toInt() == static_cast<int64_t>(half_);
  }

  static void write(const c10::IValue& original, const c10::IValue& copy) {
    if (original.isTensor() && is_half(original.toTensor())) {
      copy_back(original.toTensor(), copy.toTensor());
    } else if (original.isTensorList()) {
      const auto originals = original.toTensorVector();
      const auto copies = copy.toTensorVector();
      for (size_t i = 0; i < originals.size(); ++i) {
        if (is_half(originals[i])) {
          copy_back(originals[i], copies[i]);
        }
      }
    }
  }

  void round(c10::IValue& result) const {
    ResultsOnDevice scope(device_);
    if (result.isTensor()) {
      result = rounded(result.toTensor());
    } else if (result.isTensorList()) {
      std::vector<at::Tensor> tensors = result.toTensorVector();
      for (at::Tensor& tensor : tensors) {
        tensor = rounded(tensor);
      }
      result = std::move(tensors);
    }
  }

  at::Tensor rounded(const at::Tensor& result) const {
    for (size_t i = 0; i < copies_.size(); ++i) {
      if (copies_[i].isTensor() && copies_[i].toTensor().is_same(result)) {
        return originals_[i].toTensor();
      }
    }
    return result.defined() && result.scalar_type() == at::kFloat ? result.to(half_) : result;
  }

  const c10::OperatorHandle& target_;
  c10::ScalarType half_;
  uint64_t float_results_; // bit = position
  c10::Device device_;
  Stack originals_;
  Stack copies_;
};

} // namespace

constexpr uint64_t bit(c10::ScalarType dtype) {
  return uint64_t{1} << static_cast<int>(dtype);
}

PromotingCall::PromotingCall(uint64_t always, uint64_t float_results)
    : promoted_(always), float_results_(float_results) {}

void PromotingCall::operator()(const c10::OperatorHandle& target, Stack* stack, c10::Device device) {
  const size_t count = target.schema().arguments().size();
  const std::optional<c10::ScalarType> half =
      half_among(c10::ArrayRef<c10::IValue>(*stack).slice(stack->size() - count));
  if (C10_LIKELY(!half)) {
    ResultsOnDevice scope(device);
    target.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
    return;
  }
  if (promoted_ & bit(*half)) {
    FloatCall(target, *half, float_results_, device)(stack); // copies lie on the host, only results on the device
    return;
  }
  const auto begin = static_cast<std::ptrdiff_t>(stack->size() - count);
  const Stack arguments(stack->begin() + begin, stack->end()); // a call consumes its own
  try {
    ResultsOnDevice scope(device);
    target.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  } catch (const c10::Error& error) {
    if (!lacks_dtype(error.what_without_backtrace())) {
      throw;
    }
    stack->erase(stack->begin() + begin, stack->end());
    stack->insert(stack->end(), arguments.begin(), arguments.end());
    FloatCall(target, *half, float_results_, device)(stack);
    promoted_ |= bit(*half);
  }
}

} // namespace cordee
