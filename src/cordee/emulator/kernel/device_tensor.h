// Making the adapter's own kind of tensor over memory that is already there.
#pragma once

#include <ATen/core/Tensor.h>

namespace cordee {

// A storage of the adapter's own class that owns `data`.
c10::Storage make_device_storage(c10::DataPtr data, size_t size_bytes, c10::Device device);

// A device tensor over `storage` with the sizes, strides, offset and dtype of `like`.
at::Tensor make_device_tensor(const c10::Storage& storage, const at::Tensor& like, c10::Device device);

// Starts the adapter on `device` if it is not yet, as the adapter's own factories do.
void start(c10::Device device);

// Writes the tensor's shape and plain format into its storage's description, as the adapter does
// for what its kernels make.
void describe(const at::Tensor& tensor);

// The format that the adapter reports for the tensor (aclFormat).
void set_format(const at::Tensor& tensor, int64_t format);
int64_t format(const at::Tensor& tensor);

// The plain format of a tensor with so many dimensions.
int64_t plain_format(int64_t dimensions);

// Whether the adapter may copy the tensor's bytes as they lie. True for CPU tensors.
bool has_plain_format(const at::Tensor& tensor);

} // namespace cordee
