// Random operators on the host that draw from a generator of the device.
#include "random.h"

#include <torch_npu/csrc/aten/NPUGeneratorImpl.h>

namespace cordee {
namespace {

// By how much the adapter's own kernels move the offset for one launch
// (op_plugin passes 10 to philox_engine_inputs in every random operator).
constexpr uint64_t kOffsetPerLaunch = 10;

// Neighbouring (seed, offset) pairs must give unrelated streams: the finaliser of SplitMix64
// (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t next_seed(const at::Generator& generator) {
  auto* device = generator.get<at_npu::NPUGeneratorImpl>();
  std::pair<uint64_t, uint64_t> drawn;
  {
    std::lock_guard<std::mutex> lock(device->mutex_);
    drawn = device->philox_engine_inputs(kOffsetPerLaunch);
  }
  return mixed(drawn.first ^ mixed(drawn.second));
}

at::Generator default_generator(c10::Device device) {
  return at_npu::detail::getDefaultNPUGenerator(device.index());
}

} // namespace

at::Generator host_generator(const c10::IValue& device_generator, c10::Device device) {
  const bool given = device_generator.isGenerator() && device_generator.toGenerator().defined();
  at::Generator generator = given ? device_generator.toGenerator() : default_generator(device);
  TORCH_CHECK(
      generator.device().type() == c10::DeviceType::PrivateUse1,
      "Expected a 'npu' device type for generator but found '", generator.device().type(), "'");
  return at::detail::createCPUGenerator(next_seed(generator));
}

DrawFromDevice::DrawFromDevice(c10::Device device) {
  at::Generator host = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(host.mutex());
  saved_ = host.clone();
  host.unsafeGetGeneratorImpl()->set_current_seed(next_seed(default_generator(device)));
}

DrawFromDevice::~DrawFromDevice() {
  at::Generator host = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(host.mutex());
  host.unsafeGetGeneratorImpl()->set_state(*saved_.get_state().unsafeGetTensorImpl());
}

} // namespace cordee
