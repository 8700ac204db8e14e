// What an operator goes through on the chip before and after its maths: its turn on the stream, and
// what is wrong with the chip.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <acl/acl.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>
#include <torch_npu/csrc/core/npu/NPUFunctions.h>

#include <chrono>
#include <optional>
#include <string>

namespace cordee {

// Where an operator runs, and what is not as it should be there: bits of cordee_disturbances.
struct Launch {
  aclrtStream stream;
  unsigned disturbances;
};

// Makes `device` the thread's current one for as long as it lives, as the adapter's wrappers do.
class OnDevice {
 public:
  explicit OnDevice(c10::Device device) {
    if (C10_UNLIKELY(device.index() != c10_npu::current_device())) {
      guard_.emplace(device);
    }
  }

 private:
  std::optional<c10::DeviceGuard> guard_;
};

// Waits for what is queued on the current stream of `device`. Throws what the adapter throws where
// `name` cannot be launched: the stream or the chip failed, or was stopped.
Launch wait_for_stream(c10::Device device, const std::string& name);

// How long this thread has waited for streams while operators were observed.
uint64_t waited_ns();

// Throws the adapter's error where an argument was marked as unsafe; a copy makes its target safe.
// `tensors`: positions of tensors and tensor lists.
void check_safety(
    const c10::OperatorHandle& op,
    c10::ArrayRef<c10::IValue> arguments,
    c10::ArrayRef<uint32_t> tensors);

// While one lives, the time that passes is the work of a slow chip: it ends later by what is missing.
class Slowed {
 public:
  explicit Slowed(aclrtStream stream);
  ~Slowed();
  Slowed(const Slowed&) = delete;
  Slowed& operator=(const Slowed&) = delete;

 private:
  double factor_;
  std::chrono::steady_clock::time_point began_;
};

// Makes the first element of the first result wrong, if that is what the chip does to `op`.
void falsify(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> results, aclrtStream stream);

} // namespace cordee
