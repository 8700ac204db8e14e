// The Python module: which operators to take over, and who watches.
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/python/pybind_utils.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include <map>
#include <memory>
#include <unordered_map>

#include "attention.h"
#include "crossing.h"
#include "device_memory.h"
#include "device_tensor.h"
#include "kernel.h"
#include "launch.h"
#include "observer.h"

namespace cordee {
namespace {

const std::map<std::string, Way> kWays{
    {"host", Way::kHost},
    {"composite", Way::kComposite},
    {"copy", Way::kCopy},
    {"convert", Way::kConvert},
    {"convolution", Way::kConvolution},
    {"convolution_backward", Way::kConvolutionBackward},
    {"format", Way::kFormat},
    {"missing", Way::kMissing},
};

// Registrations last as long as the process.
std::vector<std::unique_ptr<torch::Library>> libraries;

// PyTorch warns when a kernel is replaced; replacing the adapter's is what we are for.
class Silent final : public c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

torch::Library& library(const std::string& name_space, c10::DispatchKey key) {
  libraries.push_back(
      std::make_unique<torch::Library>(torch::Library::IMPL, name_space, key, __FILE__, __LINE__));
  return *libraries.back();
}

c10::OperatorHandle operator_named(const std::string& name) {
  const size_t dot = name.find('.');
  const std::string overload = dot == std::string::npos ? "" : name.substr(dot + 1);
  return c10::Dispatcher::singleton().findSchemaOrThrow(name.substr(0, dot).c_str(), overload.c_str());
}

std::string name_space(const std::string& name) {
  return name.substr(0, name.find("::"));
}

uint64_t bits(const std::vector<c10::ScalarType>& dtypes) {
  uint64_t found = 0;
  for (const c10::ScalarType dtype : dtypes) {
    found |= uint64_t{1} << static_cast<int>(dtype);
  }
  return found;
}

void take_over(
    const std::string& name,
    const std::string& way,
    const std::vector<c10::ScalarType>& refused_dtypes,
    const std::string& why,
    const std::vector<c10::ScalarType>& in_float,
    uint64_t float_results,
    uint64_t long_arguments,
    bool seeded,
    const std::string& key) {
  Silent silent;
  c10::WarningUtils::WarningHandlerGuard guard(&silent);
  const c10::OperatorHandle op = operator_named(name);
  Rules rules{bits(refused_dtypes), why, bits(in_float), float_results, long_arguments, seeded};
  library(name_space(name), c10::parseDispatchKey(key))
      .impl(name.c_str(), make_kernel(op, kWays.at(way), std::move(rules)));
}

void take_over_autograd(const std::string& name, const std::string& way) {
  Silent silent;
  c10::WarningUtils::WarningHandlerGuard guard(&silent);
  const c10::OperatorHandle op = operator_named(name);
  torch::Library& target = library(name_space(name), c10::DispatchKey::AutogradPrivateUse1);
  if (way == "attention") {
    target.impl(name.c_str(), make_attention(op));
  } else if (way == "forward") {
    target.impl(name.c_str(), make_forward(op, c10::DispatchKey::AutogradCPU));
  } else {
    target.impl(name.c_str(), make_kernel(op, kWays.at(way), {}));
  }
}

// Hands every operator to a Python object with methods before(name, arguments),
// after(name, results) and failed(name, why).
class PythonObserver final : public Observer {
 public:
  explicit PythonObserver(const py::object& target)
      : before_(target.attr("before")), after_(target.attr("after")), failed_(target.attr("failed")) {}
  ~PythonObserver() override {
    if (!Py_IsInitialized()) { // nothing can be given back any more
      before_.release(), after_.release(), failed_.release();
      for (auto& entry : names_) {
        entry.second.release();
      }
      return;
    }
    py::gil_scoped_acquire gil;
    before_ = after_ = failed_ = py::object();
    names_.clear();
  }

  void before(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments) override {
    tell(before_, op, arguments);
  }
  void after(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> results) override {
    tell(after_, op, results);
  }
  void failed(const c10::OperatorHandle& op, const char* why) override {
    py::gil_scoped_acquire gil;
    failed_(name(op), why);
  }

 private:
  void tell(const py::object& method, const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> values) {
    py::gil_scoped_acquire gil;
    py::tuple tuple(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      tuple[i] = torch::jit::toPyObject(values[i]);
    }
    method(name(op), tuple);
  }

  // Needs the GIL, which also guards the names.
  const py::object& name(const c10::OperatorHandle& op) {
    py::object& found = names_[op];
    if (!found) {
      found = py::str(toString(op.operator_name()));
    }
    return found;
  }

  py::object before_;
  py::object after_;
  py::object failed_;
  std::unordered_map<c10::OperatorHandle, py::object> names_;
};

// A CPU tensor over the bytes of a device tensor that keeps the device tensor alive.
at::Tensor owning_host_view(const at::Tensor& tensor) {
  wait_for_stream(tensor.device(), "a view of the host");
  at::Tensor view = host_view(tensor);
  c10::StorageImpl* storage = view.storage().unsafeGetStorageImpl();
  void* data = storage->mutable_data();
  storage->set_data_ptr_noswap(c10::DataPtr(
      data, new at::Tensor(tensor), [](void* owner) { delete static_cast<at::Tensor*>(owner); },
      c10::Device(c10::DeviceType::CPU)));
  storage->set_resizable(false);
  return view;
}

} // namespace

PYBIND11_MODULE(_kernel, module) {
  module.def("install_allocator", &install_allocator);
  module.def(
      "take_over", &take_over, py::arg("name"), py::arg("way"), py::kw_only(), py::arg("refused_dtypes"),
      py::arg("why"), py::arg("in_float"), py::arg("float_results"), py::arg("long_arguments"), py::arg("seeded"),
      py::arg("key"));
  module.def("take_over_autograd", &take_over_autograd);
  module.def("host_view", &owning_host_view);
  module.def("format", &format);
  module.def("waited_ns", &waited_ns);
  module.def("observe", [](const py::object& target) {
    observe(target.is_none() ? nullptr : std::make_shared<PythonObserver>(target));
  });
}

} // namespace cordee
