// Device memory as the host sees it: where CPU kernels read it, and where they put their results.
#include "device_memory.h"

#include <acl/acl.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <torch_npu/csrc/core/npu/NPUCachingAllocator.h>
#include <torch_npu/csrc/core/npu/NPUFunctions.h>
#include <torch_npu/csrc/core/npu/NPUStream.h>

#include <chrono>

#include "cordee.h"
#include "observer.h"

extern "C" const char* aclGetRecentErrMsg();

namespace cordee {
namespace {

constexpr c10::DeviceIndex kHost = -1;
thread_local std::chrono::steady_clock::duration waited{};
thread_local c10::DeviceIndex results_on = kHost; // an index, so that reading it costs no guard

// PyTorch's default for host memory; set before anything is freed by free_any.
c10::DeleterFnPtr free_host = nullptr;

// Frees what Allocator gave, wherever it lies: oneDNN keeps an address and this function only.
void free_any(void* address) {
  if (cordee_is_shadow(address)) {
    c10_npu::NPUCachingAllocator::raw_delete(static_cast<char*>(address) - cordee_shadow_offset());
  } else {
    free_host(address);
  }
}

void free_block(void* device_address) {
  c10_npu::NPUCachingAllocator::raw_delete(device_address);
}

class Allocator final : public c10::Allocator {
 public:
  explicit Allocator(c10::Allocator* host) : host_(host) {}

  c10::DataPtr allocate(size_t size_bytes) override {
    if (C10_LIKELY(results_on == kHost) || size_bytes == 0) {
      return host_->allocate(size_bytes);
    }
    c10::DataPtr block = allocate_on({c10::DeviceType::PrivateUse1, results_on}, size_bytes);
    void* address = host_address(block.release_context());
    return {address, address, &free_any, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override {
    return &free_any;
  }

  void copy_data(void* to, const void* from, std::size_t size_bytes) const override {
    host_->copy_data(to, from, size_bytes);
  }

 private:
  c10::Allocator* host_;
};

Allocator* installed = nullptr;

} // namespace

void install_allocator() {
  free_host = c10::GetCPUAllocator()->raw_deleter();
  installed = new Allocator(c10::GetCPUAllocator()); // lives as long as the process
  c10::SetCPUAllocator(installed, /*priority=*/255);
}

c10::Allocator* allocator() {
  return installed;
}

ResultsOnDevice::ResultsOnDevice(c10::Device device) : outer_(results_on) {
  results_on = device.index();
}

ResultsOnDevice::~ResultsOnDevice() {
  results_on = outer_;
}

bool is_on_device(const c10::DataPtr& data) {
  return data.get_deleter() == &free_any;
}

c10::DataPtr to_device_address(c10::DataPtr data, c10::Device device) {
  void* device_address = static_cast<char*>(data.release_context()) - cordee_shadow_offset();
  return {device_address, device_address, &free_block, device};
}

c10::DataPtr allocate_on(c10::Device device, size_t size_bytes) {
  c10::OptionalDeviceGuard guard;
  if (device.index() != c10_npu::current_device()) {
    guard.reset_device(device);
  }
  return c10_npu::NPUCachingAllocator::get()->allocate(size_bytes);
}

void* host_address(const void* device_address) {
  static const ptrdiff_t offset = cordee_shadow_offset();
  return const_cast<char*>(static_cast<const char*>(device_address)) + offset;
}

void wait_for_stream(c10::Device device) {
  const bool is_timed = observer != nullptr;
  const auto began = is_timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
  const aclError code = cordee_compute_begin(c10_npu::getCurrentNPUStream(device.index()).stream());
  if (C10_UNLIKELY(is_timed)) {
    waited += std::chrono::steady_clock::now() - began;
  }
  TORCH_CHECK(code == ACL_SUCCESS, "the stream of ", device, " failed with code ", code, ": ", aclGetRecentErrMsg());
}

uint64_t waited_ns() {
  return std::chrono::nanoseconds(waited).count();
}

} // namespace cordee
