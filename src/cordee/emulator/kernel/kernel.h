// The kernels that stand where the adapter's own would launch work on the chip.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string>

namespace cordee {

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

// How the chip differs from the CPU in the dtypes of an operator.
struct Rules {
  uint64_t refused_dtypes = 0; // bit = c10::ScalarType
  std::string why;             // what the error says after the dtype
  uint64_t in_float = 0;       // half precisions that are computed in float32 and rounded once
  uint64_t float_results = 0;  // bit = position of a result that is then not rounded
  uint64_t long_arguments = 0; // bit = position of a tensor whose int32 stands for int64
  bool seeded = false;         // what runs draws from the host's generator: seed it from the device's
};

torch::CppFunction make_kernel(const c10::OperatorHandle& op, Way way, Rules rules);

// Runs at the device's autograd key what the CPU runs at `from`, over device tensors.
torch::CppFunction make_forward(const c10::OperatorHandle& op, c10::DispatchKey from);

} // namespace cordee
