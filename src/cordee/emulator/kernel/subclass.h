// Tensors such as a DTensor say themselves what an operator does: they are to see the adapter's operators.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace cordee {

// Whether one is among the arguments of `op`, which are the last on the stack. What torch.compile
// traces stands for plain tensors and is none.
bool has_subclass(const c10::OperatorHandle& op, const torch::jit::Stack& stack);

} // namespace cordee
