// Carries an operator out on the host, over host views of device memory.
#include "kernel.h"

#include <acl/acl_base.h>

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <torch_npu/csrc/core/npu/NPUFunctions.h>

#include "crossing.h"
#include "cordee.h"
#include "device_memory.h"
#include "device_tensor.h"
#include "launch.h"
#include "observer.h"
#include "promotion.h"
#include "random.h"
#include "signature.h"
#include "subclass.h"

namespace cordee {
namespace {

using torch::jit::Stack;

// Python references of operators are registered at a key that no tensor has.
constexpr c10::DispatchKey kReferences = c10::DispatchKey::PrivateUse3;

c10::ArrayRef<c10::IValue> last(const Stack& stack, size_t count) {
  return c10::ArrayRef<c10::IValue>(stack).slice(stack.size() - count);
}

// A reference may itself use autograd, which dispatch has switched off below the autograd key.
class AutogradAsAbove {
  c10::impl::LocalDispatchKeySet local_ = c10::impl::tls_local_dispatch_key_set();
  c10::impl::ForceDispatchKeyGuard guard_{
      local_.included_,
      local_.excluded_ - c10::autograd_dispatch_keyset_with_ADInplaceOrView};
};

class HostKernel : public c10::OperatorKernel {
 public:
  HostKernel(const c10::OperatorHandle& op, Rules rules)
      : signature_(op), rules_(std::move(rules)), has_reference_(op.hasKernelForDispatchKey(kReferences)),
        call_(rules_.in_float, rules_.float_results) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
    run(op, op, stack);
  }

 protected:
  // Runs the CPU kernel of `target`, whose arguments are the first on the stack of `op`.
  void run(const c10::OperatorHandle& op, const c10::OperatorHandle& target, Stack* stack) {
    watched(op, stack, [&] { run_unwatched(op, target, stack); });
  }

 private:
  void run_unwatched(const c10::OperatorHandle& op, const c10::OperatorHandle& target, Stack* stack) {
    at::AutoDispatchBelowAutograd below;
    const auto arguments = last(*stack, signature_.arguments);
    const c10::Device device = device_of(arguments);
    const OnDevice current_is(device);
    check_dtypes(op, arguments);
    check_safety(op, arguments, signature_.tensors);
    const Launch launch = wait_for_stream(device, op.operator_name().name);
    std::optional<Slowed> slowed;
    if (C10_UNLIKELY(launch.disturbances & CORDEE_SLOW)) {
      slowed.emplace(launch.stream);
    }

    Crossing crossing(device);
    std::optional<DrawFromDevice> draw;
    prepare(arguments, device, crossing, draw);
    call(target, stack, device);
    draw.reset();
    if (signature_.mutates) {
      crossing.write_back();
    }
    for (size_t i = stack->size() - signature_.results; i < stack->size(); ++i) {
      crossing.to_device((*stack)[i]);
    }
    if (C10_UNLIKELY(launch.disturbances & CORDEE_WRONG)) {
      falsify(op, last(*stack, signature_.results), launch.stream);
    }
  }

  void call(const c10::OperatorHandle& target, Stack* stack, c10::Device device) {
    if (has_reference_) {
      AutogradAsAbove guard;
      target.redispatchBoxed(c10::DispatchKeySet(kReferences), stack);
    } else {
      call_(target, stack, device);
    }
  }

  c10::Device device_of(c10::ArrayRef<c10::IValue> arguments) const {
    if (signature_.device && arguments[*signature_.device].isDevice()) {
      const c10::Device device = arguments[*signature_.device].toDevice();
      if (device.is_privateuseone() && device.has_index()) {
        start(device);
        return device;
      }
    }
    for (uint32_t i : signature_.tensors) {
      const c10::IValue& value = arguments[i];
      if (value.isTensor() && value.unsafeToTensorImpl()->is_privateuseone()) {
        return value.unsafeToTensorImpl()->device();
      }
      if (value.isTensorList()) {
        for (const at::Tensor& tensor : value.toTensorList()) {
          if (tensor.defined() && tensor.is_privateuseone()) {
            return tensor.device();
          }
        }
      }
    }
    const c10::Device current(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(c10_npu::current_device()));
    start(current);
    return current;
  }

  void check_dtypes(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments) const {
    if (C10_LIKELY(rules_.refused_dtypes == 0)) {
      return;
    }
    for (uint32_t i : signature_.tensors) {
      // A number in a tensor's place is a tensor of the host, and double; the chip never sees it.
      if (!arguments[i].isTensor() || !arguments[i].toTensor().defined() ||
          !arguments[i].toTensor().is_privateuseone()) {
        continue;
      }
      const c10::ScalarType dtype = arguments[i].toTensor().scalar_type();
      TORCH_CHECK(
          !(rules_.refused_dtypes >> static_cast<int>(dtype) & 1),
          op.schema().operator_name(), ": argument '", op.schema().arguments()[i].name(), "' is ",
          dtype, ", which the chip does not support. ", rules_.why);
    }
  }

  void prepare(
      c10::ArrayRef<c10::IValue> arguments,
      c10::Device device,
      Crossing& crossing,
      std::optional<DrawFromDevice>& draw) const {
    auto at = [&](uint32_t i) -> c10::IValue& { return const_cast<c10::IValue&>(arguments[i]); };
    for (uint32_t i : signature_.tensors) {
      crossing.to_host(at(i));
      if (C10_UNLIKELY(rules_.long_arguments >> i & 1) && at(i).isTensor() && at(i).toTensor().scalar_type() == at::kInt) {
        at(i) = at(i).toTensor().to(at::kLong);
      }
    }
    if (signature_.device && at(*signature_.device).isDevice()) {
      at(*signature_.device) = c10::Device(c10::DeviceType::CPU);
    }
    if (signature_.generator) {
      at(*signature_.generator) = host_generator(at(*signature_.generator), device);
    } else if (rules_.seeded) {
      draw.emplace(device);
    }
  }

 protected:
  Signature signature_;

 private:
  Rules rules_;
  bool has_reference_;
  PromotingCall call_;
};

// The kernel that the CPU runs for `op` at `key`, over whatever tensors it is given.
class Forward : public c10::OperatorKernel {
 public:
  Forward(const c10::OperatorHandle& op, c10::DispatchKey key)
      : kernel_(op.getComputedKernelForDispatchKey(key)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    kernel_.callBoxed(op, keys, stack);
  }

 private:
  c10::SafeKernelFunction kernel_;
};

// The same in place of the adapter's kernel at an autograd key, which subclasses of Tensor are to see.
class ForwardOrAdapters final : public Forward {
 public:
  ForwardOrAdapters(const c10::OperatorHandle& op, c10::DispatchKey key)
      : Forward(op, key), adapters_(op.getComputedKernelForDispatchKey(c10::DispatchKey::AutogradPrivateUse1)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    if (has_subclass(op, *stack)) {
      adapters_.callBoxed(op, keys, stack);
    } else {
      Forward::operator()(op, keys, stack);
    }
  }

 private:
  c10::SafeKernelFunction adapters_;
};

bool is_plain_copy(const at::Tensor& to, const at::Tensor& from) {
  return to.scalar_type() == from.scalar_type() && to.sizes() == from.sizes() && to.is_contiguous() &&
      from.is_contiguous() && has_plain_format(to) && has_plain_format(from) && !to.is_conj() && !from.is_conj() && !to.is_neg() && !from.is_neg();
}

// A copy between host and device that need not wait goes the adapter's own way, over the stream.
class Copy final : public HostKernel {
 public:
  Copy(const c10::OperatorHandle& op, Rules rules)
      : HostKernel(op, std::move(rules)),
        adapter_(op.getComputedKernelForDispatchKey(c10::DispatchKey::PrivateUse1)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    const at::Tensor& to = torch::jit::peek(*stack, 0, 3).toTensor();
    const at::Tensor& from = torch::jit::peek(*stack, 1, 3).toTensor();
    const bool non_blocking = torch::jit::peek(*stack, 2, 3).toBool();
    if (non_blocking && to.is_cpu() != from.is_cpu() && is_plain_copy(to, from)) {
      watched(op, stack, [&] { adapter_.callBoxed(op, keys, stack); });
      return;
    }
    if (!to.is_cpu() && !from.is_cpu() && to.device() != from.device()) {
      wait_for_stream(to.device(), op.operator_name().name); // `run` waits for one of the two
    }
    run(op, op, stack);
  }

 private:
  c10::SafeKernelFunction adapter_;
};

// aten::_to_copy: within the device an operator of its own, across devices a decomposition.
class Convert final : public HostKernel {
 public:
  Convert(const c10::OperatorHandle& op, Rules rules)
      : HostKernel(op, std::move(rules)), composite_(op, c10::DispatchKey::CPU) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    const auto arguments = last(*stack, signature_.arguments);
    const c10::IValue& device = arguments[*signature_.device];
    if (device.isDevice() && device.toDevice() != arguments[0].toTensor().device()) {
      composite_(op, keys, stack);
    } else {
      run(op, op, stack);
    }
  }

 private:
  Forward composite_;
};

// PyTorch hands convolutions of devices outside its tree to "overrideable" operators.
class Convolution final : public HostKernel {
 public:
  Convolution(const c10::OperatorHandle& op, Rules rules)
      : HostKernel(op, std::move(rules)),
        target_(c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution", "")) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
    run(op, target_, stack);
  }

 private:
  c10::OperatorHandle target_;
};

class ConvolutionBackward final : public HostKernel {
 public:
  explicit ConvolutionBackward(Rules rules) : ConvolutionBackward(target(), std::move(rules)) {}

  void operator()(const c10::OperatorHandle&, c10::DispatchKeySet, Stack* stack) {
    // The sizes of the bias stand after the weight; the overrideable operator does not know them.
    const at::Tensor grad = torch::jit::peek(*stack, 0, 10).toTensor();
    const std::vector<int64_t> bias_sizes{grad.size(1)};
    stack->insert(stack->end() - 7, c10::IValue(bias_sizes));
    run(target_, target_, stack);
  }

 private:
  static c10::OperatorHandle target() {
    return c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution_backward", "");
  }
  ConvolutionBackward(const c10::OperatorHandle& op, Rules rules)
      : HostKernel(op, std::move(rules)), target_(op) {}

  c10::OperatorHandle target_;
};

// Formats other than the plain ones change where the chip keeps which element, not what a tensor
// holds: the virtual chip notes the format and keeps the bytes in order.
class Format final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
    auto arguments = torch::jit::pop(*stack, op.schema().arguments().size());
    at::Tensor tensor = arguments[0].toTensor();
    if (arguments[1].isTensor()) {
      const at::Tensor& like = arguments[1].toTensor();
      tensor = op.schema().is_mutable() ? tensor.copy_(like) : tensor.clone();
      set_format(tensor, format(like));
    } else {
      // An image that leaves a format of the chip's own is an image again; all else is as asked for.
      const bool is_image = !has_plain_format(tensor) && plain_format(tensor.dim()) == ACL_FORMAT_NCHW;
      const bool leaves = is_image && arguments[1].toInt() == ACL_FORMAT_ND;
      tensor = op.schema().is_mutable() ? tensor : tensor.clone();
      set_format(tensor, leaves ? int64_t{ACL_FORMAT_NCHW} : arguments[1].toInt());
    }
    torch::jit::push(*stack, std::move(tensor));
  }
};

class Missing final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
    watched(op, stack, [&] {
      TORCH_CHECK_NOT_IMPLEMENTED(
          false, op.schema().operator_name(), " is not emulated: the virtual chip has no reference for it. "
          "docs/reference/operators.md lists what is emulated.");
    });
  }
};

} // namespace

torch::CppFunction make_kernel(const c10::OperatorHandle& op, Way way, Rules rules) {
  auto function = [](auto kernel) { return torch::CppFunction::makeFromBoxedFunctor(std::move(kernel)); };
  switch (way) {
    case Way::kHost:
      return function(std::make_unique<HostKernel>(op, std::move(rules)));
    case Way::kComposite:
      return function(std::make_unique<Forward>(op, c10::DispatchKey::CPU));
    case Way::kCopy:
      return function(std::make_unique<Copy>(op, std::move(rules)));
    case Way::kConvert:
      return function(std::make_unique<Convert>(op, std::move(rules)));
    case Way::kConvolution:
      return function(std::make_unique<Convolution>(op, std::move(rules)));
    case Way::kConvolutionBackward:
      return function(std::make_unique<ConvolutionBackward>(std::move(rules)));
    case Way::kFormat:
      return function(std::make_unique<Format>());
    case Way::kMissing:
      return function(std::make_unique<Missing>());
  }
  TORCH_INTERNAL_ASSERT(false, "unknown way");
}

torch::CppFunction make_forward(const c10::OperatorHandle& op, c10::DispatchKey from) {
  return torch::CppFunction::makeFromBoxedFunctor(std::make_unique<ForwardOrAdapters>(op, from));
}

} // namespace cordee
