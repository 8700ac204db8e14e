// What an operator goes through on the chip before and after its maths.
#include "launch.h"

#include <torch/csrc/utils/pybind.h>
#include <torch_npu/csrc/core/npu/NPUCachingAllocator.h>
#include <torch_npu/csrc/core/npu/NPURecovery.h>
#include <torch_npu/csrc/core/npu/NPUStream.h>
#include <torch_npu/csrc/framework/OpCommand.h>

#include <optional>
#include <thread>

#include "cordee.h"
#include "device_memory.h"
#include "observer.h"

extern "C" const char* aclGetRecentErrMsg();

namespace cordee {
namespace {

// A sleep ends late by about a tenth of this.
constexpr std::chrono::duration<double> kSleepFrom{1e-3};

// The adapter makes its own error of a code where it launches a kernel; its launcher must not be
// left by an exception while it has taken the interpreter's lock away.
[[noreturn]] void refuse(const std::string& name, const c10_npu::NPUStream& stream, aclError code) {
  const std::string why = aclGetRecentErrMsg() ? aclGetRecentErrMsg() : "";
  std::optional<pybind11::gil_scoped_release> no_lock;
  if (Py_IsInitialized() && PyGILState_Check()) {
    no_lock.emplace();
  }
  at_npu::native::OpCommand::RunOpApiV2(name, [code] { return code; });
  stream.synchronize(); // the adapter's launch queue has it now, and fails here
  TORCH_CHECK(false, name, " failed with code ", code, ": ", why);
}

thread_local std::chrono::steady_clock::duration waited{};

aclError begin(aclrtStream stream) {
  if (C10_LIKELY(observer == nullptr)) {
    return cordee_compute_begin(stream);
  }
  const auto began = std::chrono::steady_clock::now();
  const aclError code = cordee_compute_begin(stream);
  waited += std::chrono::steady_clock::now() - began;
  return code;
}

at::Tensor first_of(const c10::IValue& result) {
  if (result.isTensor()) {
    return result.toTensor();
  }
  return result.isTensorList() && !result.toTensorVector().empty() ? result.toTensorVector()[0] : at::Tensor();
}

void make_safe(const at::Tensor& tensor) {
  if (tensor.defined() && tensor.is_privateuseone()) {
    c10_npu::NPUCachingAllocator::updateBlockToSafe(tensor.storage().data_ptr());
  }
}

template <class F>
void for_each_tensor(const c10::IValue& value, F&& act) {
  if (value.isTensor()) {
    act(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) {
      act(tensor);
    }
  }
}

} // namespace

Launch wait_for_stream(c10::Device device, const std::string& name) {
  const OnDevice current_is(device);
  c10_npu::NPUStream current = c10_npu::getCurrentNPUStream(device.index());
  aclrtStream stream = current.stream();
  const Launch launch{stream, cordee_disturbances(stream)};
  if (C10_UNLIKELY(launch.disturbances & CORDEE_ABORTED)) {
    if (current.getRepoStopFlag()) {
      refuse(name, current, ACL_ERROR_RT_DEVICE_TASK_ABORT);
    }
    cordee_resume(launch.stream);
  }
  const aclError code = begin(launch.stream);
  if (C10_UNLIKELY(code != ACL_SUCCESS)) {
    refuse(name, current, code);
  }
  return launch;
}

uint64_t waited_ns() {
  return std::chrono::nanoseconds(waited).count();
}

void check_safety(
    const c10::OperatorHandle& op,
    c10::ArrayRef<c10::IValue> arguments,
    c10::ArrayRef<uint32_t> tensors) {
  if (C10_LIKELY(!c10_npu::get_npu_data_unsafe_flag())) {
    return;
  }
  // As the adapter's wrappers do, which stand here no longer.
  const std::string& name = op.operator_name().name;
  const bool copies = name == "aten::copy_" || name == "aten::_foreach_copy_";
  for (uint32_t i : tensors) {
    if (!(copies && i == 0)) {
      for_each_tensor(arguments[i], [](const at::Tensor& tensor) {
        if (tensor.defined()) {
          c10_npu::check_npu_tensor_is_safe(tensor);
        }
      });
    }
  }
  if (copies) {
    for_each_tensor(arguments[0], make_safe);
  }
}

Slowed::Slowed(aclrtStream stream)
    : factor_(cordee_slow_percent(stream) / 100.0), began_(std::chrono::steady_clock::now()) {}

Slowed::~Slowed() {
  using Seconds = std::chrono::duration<double>;
  static thread_local Seconds missing{0}; // small operators owe less than a sleep is exact to
  const auto ended = std::chrono::steady_clock::now();
  missing += Seconds(ended - began_) * std::max(factor_ - 1, 0.0);
  if (missing >= kSleepFrom) {
    std::this_thread::sleep_for(missing);
    missing -= Seconds(std::chrono::steady_clock::now() - ended);
  }
}

void falsify(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> results, aclrtStream stream) {
  const unsigned flip = cordee_flip(stream, c10::toString(op.operator_name()).c_str());
  const at::Tensor tensor = flip && !results.empty() ? first_of(results[0]) : at::Tensor();
  if (!tensor.defined() || !tensor.is_privateuseone() || tensor.numel() == 0) {
    return;
  }
  const unsigned bit = flip - 1;
  if (bit < 8 * tensor.element_size()) {
    static_cast<uint8_t*>(host_address(tensor.data_ptr()))[bit / 8] ^= 1u << bit % 8;
  }
}

} // namespace cordee
