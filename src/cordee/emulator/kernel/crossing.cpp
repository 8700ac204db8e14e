// One operator's tensors on their way to the host, and its results on their way back.
#include "crossing.h"

#include <c10/core/InferenceMode.h>
#include <c10/core/StorageImpl.h>
#include <c10/core/TensorImpl.h>
#include <cstring>

#include "device_memory.h"
#include "device_tensor.h"

namespace cordee {

void Crossing::to_host(c10::IValue& value) {
  if (value.isTensor()) {
    if (value.unsafeToTensorImpl()->is_privateuseone()) {
      value = host_view(value.toTensor());
    }
  } else if (value.isTensorList()) {
    c10::List<at::Tensor> views;
    views.reserve(value.toTensorList().size());
    for (const at::Tensor& tensor : value.toTensorVector()) {
      views.push_back(tensor.defined() && tensor.is_privateuseone() ? host_view(tensor) : tensor);
    }
    value = std::move(views);
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> views;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      const bool crosses = tensor.has_value() && tensor->defined() && tensor->is_privateuseone();
      views.push_back(crosses ? std::optional(host_view(*tensor)) : tensor);
    }
    value = std::move(views);
  }
}

void Crossing::to_device(c10::IValue& value) {
  if (value.isTensor()) {
    value = device_tensor(std::move(value).toTensor());
  } else if (value.isTensorList()) {
    c10::List<at::Tensor> results;
    std::vector<at::Tensor> tensors = value.toTensorVector();
    value = c10::IValue(); // the last owner but `tensors`, so that memory can be taken over
    results.reserve(tensors.size());
    for (at::Tensor& tensor : tensors) {
      results.push_back(device_tensor(std::move(tensor)));
    }
    value = std::move(results);
  }
}

void Crossing::write_back() {
  for (Storage& storage : storages_) {
    c10::StorageImpl* host = storage.host.unsafeGetStorageImpl();
    if (C10_LIKELY(host->data() == storage.host_data)) {
      continue;
    }
    const size_t size_bytes = host->nbytes();
    c10::DataPtr data = host->set_data_ptr(c10::DataPtr());
    if (!is_on_device(data)) {
      c10::DataPtr copy = allocate_on(device_, size_bytes);
      if (size_bytes > 0) {
        std::memcpy(host_address(copy.get()), data.get(), size_bytes);
      }
      data = std::move(copy);
    } else {
      data = to_device_address(std::move(data), device_);
    }
    c10::StorageImpl* device = storage.device.unsafeGetStorageImpl();
    device->set_data_ptr_noswap(std::move(data));
    device->set_nbytes(size_bytes);
  }
  for (Argument& argument : arguments_) {
    const c10::TensorImpl* host = argument.host.unsafeGetTensorImpl();
    c10::TensorImpl* device = argument.device.unsafeGetTensorImpl();
    if (host->sizes() != device->sizes() || host->strides() != device->strides()) {
      device->set_sizes_and_strides(host->sizes(), host->strides(), host->storage_offset());
      describe(argument.device);
    }
  }
}

const Crossing::Storage& Crossing::cross(const c10::Storage& device) {
  for (const Storage& storage : storages_) {
    if (storage.device.unsafeGetStorageImpl() == device.unsafeGetStorageImpl()) {
      return storage;
    }
  }
  const c10::StorageImpl* impl = device.unsafeGetStorageImpl();
  void* data = impl->data() ? host_address(impl->data()) : nullptr;
  c10::Storage host(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(),
      impl->nbytes(),
      c10::DataPtr(data, c10::Device(c10::DeviceType::CPU)),
      allocator(),
      /*resizable=*/true));
  storages_.push_back({device, std::move(host), data});
  return storages_.back();
}

at::Tensor Crossing::host_view(const at::Tensor& tensor) {
  for (const Argument& argument : arguments_) {
    if (argument.device.is_same(tensor)) {
      return argument.host;
    }
  }
  const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  c10::Storage storage = cross(impl->storage()).host;
  at::Tensor view = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), impl->dtype());
  c10::TensorImpl* host = view.unsafeGetTensorImpl();
  host->set_sizes_and_strides(impl->sizes(), impl->strides(), impl->storage_offset());
  if (impl->is_wrapped_number()) {
    host->set_wrapped_number(true);
  }
  host->_set_conj(impl->is_conj());
  host->_set_neg(impl->is_neg());
  arguments_.push_back({tensor, view});
  return view;
}

at::Tensor Crossing::device_tensor(at::Tensor result) {
  if (!result.defined() || !result.is_cpu()) {
    return result;
  }
  for (const Argument& argument : arguments_) {
    if (argument.host.is_same(result)) {
      return argument.device;
    }
  }
  const c10::StorageImpl* host = result.storage().unsafeGetStorageImpl();
  for (const Storage& storage : storages_) {
    if (storage.host.unsafeGetStorageImpl() == host) {
      return make_device_tensor(storage.device, result, device_);
    }
  }
  c10::Storage storage = take_over(result);
  at::Tensor made = make_device_tensor(storage, result, device_);
  describe(made);
  return made;
}

c10::Storage Crossing::take_over(const at::Tensor& result) {
  c10::StorageImpl* host = result.storage().unsafeGetStorageImpl();
  const bool is_ours_alone = result.use_count() == 1 && result.storage().use_count() == 1;
  if (is_ours_alone && is_on_device(host->data_ptr())) {
    const size_t size_bytes = host->nbytes();
    return make_device_storage(
        to_device_address(host->set_data_ptr(c10::DataPtr()), device_), size_bytes, device_);
  }
  const size_t size_bytes = host->nbytes();
  c10::DataPtr data = allocate_on(device_, size_bytes);
  if (size_bytes > 0) {
    std::memcpy(host_address(data.get()), host->data(), size_bytes);
  }
  return make_device_storage(std::move(data), size_bytes, device_);
}

at::Tensor host_view(const at::Tensor& tensor) {
  Crossing crossing(tensor.device());
  c10::IValue value(tensor);
  crossing.to_host(value);
  return value.toTensor();
}

} // namespace cordee
