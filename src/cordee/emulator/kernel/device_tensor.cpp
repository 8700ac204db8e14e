// Making the adapter's own kind of tensor over memory that is already there.
#include "device_tensor.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StorageImpl.h>
#include <torch_npu/csrc/core/NPUStorageImpl.h>
#include <torch_npu/csrc/core/npu/NPUCachingAllocator.h>

#include <array>
#include <mutex>

namespace cordee {
namespace {

// The adapter's tensor class cannot be constructed from outside its library; an empty tensor of
// that class can be cloned. One per device and inference mode, made on first use.
const at::Tensor& empty_tensor(c10::Device device) {
  static std::array<std::array<at::Tensor, 2>, C10_COMPILE_TIME_MAX_NPUS> tensors;
  static std::array<std::array<std::once_flag, 2>, C10_COMPILE_TIME_MAX_NPUS> made;
  const bool inference = c10::InferenceMode::is_enabled();
  std::call_once(made[device.index()][inference], [&] {
    tensors[device.index()][inference] = at::empty({0}, at::TensorOptions().device(device));
  });
  return tensors[device.index()][inference];
}

torch_npu::NPUStorageDesc& description(const at::Tensor& tensor) {
  return static_cast<torch_npu::NPUStorageImpl*>(tensor.storage().unsafeGetStorageImpl())->npu_desc_;
}

} // namespace

c10::Storage make_device_storage(c10::DataPtr data, size_t size_bytes, c10::Device device) {
  return c10::Storage(c10::make_storage_impl(
      c10::StorageImpl::use_byte_size_t(),
      static_cast<int64_t>(size_bytes),
      std::move(data),
      c10_npu::NPUCachingAllocator::get(),
      /*resizable=*/true,
      device));
}

at::Tensor make_device_tensor(const c10::Storage& storage, const at::Tensor& like, c10::Device device) {
  const bool inference = c10::InferenceMode::is_enabled();
  c10::intrusive_ptr<c10::TensorImpl> impl =
      empty_tensor(device).unsafeGetTensorImpl()->shallow_copy_and_detach(
          inference ? c10::VariableVersion(c10::VariableVersion::DISABLED) : c10::VariableVersion(0),
          /*allow_tensor_metadata_change=*/true);
  impl->set_storage_and_dtype(storage, like.dtype());
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  impl->_set_conj(like.is_conj());
  impl->_set_neg(like.is_neg());
  return at::Tensor(std::move(impl));
}

void start(c10::Device device) {
  empty_tensor(device);
}

void describe(const at::Tensor& tensor) {
  torch_npu::NPUStorageDesc& desc = description(tensor);
  desc.base_sizes_.assign(tensor.sizes().begin(), tensor.sizes().end());
  desc.base_strides_.assign(tensor.strides().begin(), tensor.strides().end());
  desc.storage_sizes_ = desc.base_sizes_;
  desc.origin_format_ = desc.npu_format_ = static_cast<aclFormat>(plain_format(tensor.dim()));
  desc.data_type_ = tensor.dtype();
}

void set_format(const at::Tensor& tensor, int64_t format) {
  description(tensor).npu_format_ = static_cast<aclFormat>(format);
}

int64_t format(const at::Tensor& tensor) {
  return description(tensor).npu_format_;
}

// The adapter calls 4 dimensions NCHW and 5 NCDHW, everything else ND.
int64_t plain_format(int64_t dimensions) {
  return dimensions == 4 ? ACL_FORMAT_NCHW : dimensions == 5 ? ACL_FORMAT_NCDHW : ACL_FORMAT_ND;
}

bool has_plain_format(const at::Tensor& tensor) {
  if (tensor.is_cpu()) {
    return true;
  }
  switch (description(tensor).npu_format_) {
    case ACL_FORMAT_ND:
    case ACL_FORMAT_NCHW:
    case ACL_FORMAT_NHWC:
    case ACL_FORMAT_NCDHW:
    case ACL_FORMAT_NDHWC:
      return true;
    default:
      return false;
  }
}

} // namespace cordee
