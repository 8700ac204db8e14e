// What the kernel must know of an operator's arguments, read once from its schema.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/SmallVector.h>

#include <optional>

namespace cordee {

struct Signature {
  explicit Signature(const c10::OperatorHandle& op);

  size_t arguments;
  size_t results;
  c10::SmallVector<uint32_t, 8> tensors; // positions of tensors and tensor lists
  std::optional<uint32_t> device;
  std::optional<uint32_t> generator;
  bool mutates; // an argument is written, and may be resized
};

} // namespace cordee
