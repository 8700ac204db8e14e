// Device memory as the host sees it: where CPU kernels read it, and where they put their results.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

namespace cordee {

// Replaces PyTorch's CPU allocator by one that obeys ResultsOnDevice. Called once.
void install_allocator();

// The allocator that host views of device memory name, so that a kernel may resize them.
c10::Allocator* allocator();

// While one lives, CPU tensors made by this thread lie in memory of `device`.
class ResultsOnDevice {
 public:
  explicit ResultsOnDevice(c10::Device device);
  ~ResultsOnDevice();
  ResultsOnDevice(const ResultsOnDevice&) = delete;
  ResultsOnDevice& operator=(const ResultsOnDevice&) = delete;

 private:
  c10::DeviceIndex outer_;
};

// Whether `data` was allocated while a ResultsOnDevice lived.
bool is_on_device(const c10::DataPtr& data);

// The same memory under its device address. `data` must satisfy is_on_device.
c10::DataPtr to_device_address(c10::DataPtr data, c10::Device device);

// New memory on `device`; throws the adapter's OutOfMemoryError.
c10::DataPtr allocate_on(c10::Device device, size_t size_bytes);

// Where the host reads the byte at `device_address`.
void* host_address(const void* device_address);

// Waits for what is queued on the current stream of `device`; throws if stream or chip failed.
void wait_for_stream(c10::Device device);

// How long this thread has waited for streams while operators were observed.
uint64_t waited_ns();

} // namespace cordee
