// Random operators on the host that draw from a generator of the device.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/ivalue.h>
#include <c10/core/Device.h>

#include <mutex>
#include <optional>

namespace cordee {

// A CPU generator whose numbers follow from the seed and offset of `device_generator`, or of the
// default generator of `device` where that is None. Advances the offset as a kernel would.
at::Generator host_generator(const c10::IValue& device_generator, c10::Device device);

// While one lives, CPU kernels that take no generator draw from the default one of `device`.
class DrawFromDevice {
 public:
  explicit DrawFromDevice(c10::Device device);
  ~DrawFromDevice();
  DrawFromDevice(const DrawFromDevice&) = delete;
  DrawFromDevice& operator=(const DrawFromDevice&) = delete;

 private:
  at::Generator saved_;
};

} // namespace cordee
