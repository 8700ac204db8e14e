// Half precision as the chip computes it: in float32 inside an operator, rounded once at the end.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/Device.h>

#include <atomic>

namespace cordee {

// Calls the CPU kernel of one operator: in float32 where its half-precision form rounds in between,
// or where it turns out to have none.
class PromotingCall {
 public:
  // `always`: half precisions to carry out in float32 without a try. `float_results`: bit = position
  // of a result that stays in float32.
  PromotingCall(uint64_t always, uint64_t float_results);

  // `target` as for redispatch. The arguments on the stack are host tensors.
  void operator()(const c10::OperatorHandle& target, torch::jit::Stack* stack, c10::Device device);

 private:
  // Half-precision dtypes that are carried out in float32 (bit = c10::ScalarType).
  std::atomic<uint64_t> promoted_;
  uint64_t float_results_;
};

} // namespace cordee
