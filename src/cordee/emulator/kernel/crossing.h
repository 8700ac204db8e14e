// One operator's tensors on their way to the host, and its results on their way back.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/util/SmallVector.h>

namespace cordee {

class Crossing {
 public:
  explicit Crossing(c10::Device device) : device_(device) {}

  // Gives CPU tensors over the bytes of the device tensors in `value`; other values as they are.
  // Tensors that shared a storage share one again.
  void to_host(c10::IValue& value);

  // Gives device tensors for the CPU tensors in `value`: an argument for its own view,
  // a new tensor otherwise. Memory allocated on the device is taken over, other memory copied.
  void to_device(c10::IValue& value);

  // Carries over what a kernel changed in an argument's sizes, strides or storage.
  void write_back();

 private:
  struct Argument {
    at::Tensor device;
    at::Tensor host;
  };
  struct Storage {
    c10::Storage device;
    c10::Storage host;
    void* host_data; // as it was made; a kernel that resizes puts another one
  };

  at::Tensor host_view(const at::Tensor& tensor);
  at::Tensor device_tensor(at::Tensor result);
  const Storage& cross(const c10::Storage& device);
  c10::Storage take_over(const at::Tensor& result);

  c10::Device device_;
  c10::SmallVector<Argument, 8> arguments_;
  c10::SmallVector<Storage, 8> storages_;
};

// A CPU tensor over the bytes of `tensor`, valid while `tensor` lives.
at::Tensor host_view(const at::Tensor& tensor);

} // namespace cordee
