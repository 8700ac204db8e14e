// The kernels that stand where the adapter's own would launch work on the chip.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <memory>
#include <string>

namespace cordee {

// Whom to tell about every operator; what it needs of Python it takes itself.
class Observer {
 public:
  virtual ~Observer() = default;
  // Tensors in `arguments` are host views; a kernel may write into them afterwards.
  virtual void before(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments) = 0;
  // Tensors in `results` are still on the host.
  virtual void after(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> results) = 0;
};

// Replaces the observer; null for none.
void observe(std::shared_ptr<Observer> observer);

// How an operator is carried out.
enum class Way {
  kHost,      // on host views, by its reference or else by PyTorch's CPU kernel
  kComposite, // by PyTorch's own decomposition, over device tensors
  kCopy,      // between devices, or like kHost within one
  kConvert,   // a copy to another dtype or device
  kConvolution,
  kConvolutionBackward,
  kFormat,    // a copy that is given another memory format
  kMissing,   // refused by name
};

// Refuses tensors of the dtypes in `mask` (bit = c10::ScalarType) with `why`.
struct Refusal {
  uint64_t mask = 0;
  std::string why;
};

torch::CppFunction make_kernel(const c10::OperatorHandle& op, Way way, Refusal refusal);

// Runs at a dispatch key above the device's what the CPU runs there, over device tensors.
torch::CppFunction make_forward(const c10::OperatorHandle& op, c10::DispatchKey from);


} // namespace cordee
