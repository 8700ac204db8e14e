// Tells the observer of operators that are not carried out by a kernel of ours.
#include "observer.h"

#include <ATen/record_function.h>

#include <optional>
#include <string_view>
#include <unordered_map>

namespace cordee {

std::shared_ptr<Observer> observer;

namespace {

using c10::DispatchKey;

bool starts_with(const std::string& text, std::string_view start) {
  return text.compare(0, start.size(), start) == 0;
}

// Whether the chip is told of it, and no kernel of ours stands in the way: an operator that the
// adapter leaves to the host, or a collective.
bool is_unseen(const c10::OperatorHandle& op) {
  if (starts_with(op.schema().name(), "c10d::")) {
    return true;
  }
  for (DispatchKey key :
       {DispatchKey::PrivateUse1, DispatchKey::AutogradPrivateUse1, DispatchKey::CompositeImplicitAutograd,
        DispatchKey::CompositeExplicitAutograd, DispatchKey::CompositeExplicitAutogradNonFunctional,
        DispatchKey::BackendSelect}) {
    if (op.hasKernelForDispatchKey(key)) {
      return false;
    }
  }
  return true;
}

// The operator where it is unseen. Looked up once a name and thread.
const c10::OperatorHandle* unseen(const c10::OperatorName& name) {
  static thread_local std::unordered_map<c10::OperatorName, std::optional<c10::OperatorHandle>> known;
  const auto found = known.find(name);
  if (found != known.end()) {
    return found->second ? &*found->second : nullptr;
  }
  std::optional<c10::OperatorHandle> op = c10::Dispatcher::singleton().findSchema(name);
  auto& kept = known[name] = op && is_unseen(*op) ? op : std::nullopt;
  return kept ? &*kept : nullptr;
}

// A tensor with memory on the device, not one that stands for another while something is traced.
bool is_on_device(const at::Tensor& tensor) {
  static const c10::DispatchKeySet stand_ins{
      DispatchKey::Python, DispatchKey::Functionalize, DispatchKey::FuncTorchBatched,
      DispatchKey::FuncTorchGradWrapper};
  return tensor.defined() && tensor.is_privateuseone() && !tensor.key_set().has_any(stand_ins);
}

bool is_on_device(const c10::IValue& value) {
  if (value.isTensor()) {
    return is_on_device(value.toTensor());
  }
  if (value.isTensorList()) {
    const c10::List<at::Tensor> tensors = value.toTensorList();
    return !tensors.empty() && is_on_device(tensors.get(0));
  }
  if (value.isList()) { // of lists, as all-gather has
    const auto items = value.toListRef();
    return !items.empty() && !items[0].isTensor() && is_on_device(items[0]);
  }
  return value.isDevice() && value.toDevice().is_privateuseone();
}

struct Watching final : at::ObserverContext {
  explicit Watching(const c10::OperatorHandle* op) : op(op), exceptions(std::uncaught_exceptions()) {}
  const c10::OperatorHandle* op;
  int exceptions;
  std::shared_ptr<Observer> eye = observer;
};

// Autocast sends an operator through the dispatcher twice; once is to be told.
thread_local const c10::OperatorHandle* inside = nullptr;

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& call) {
  const auto name = call.operator_name();
  if (!name || !observer || c10::impl::tls_is_dispatch_key_included(DispatchKey::Python)) {
    return nullptr;
  }
  const c10::OperatorHandle* op = unseen(*name);
  if (!op || op == inside) {
    return nullptr;
  }
  for (const c10::IValue& value : call.inputs()) {
    if (is_on_device(value)) {
      auto watching = std::make_unique<Watching>(op);
      inside = op;
      const auto inputs = call.inputs();
      watching->eye->before(*op, c10::ArrayRef<c10::IValue>(inputs.data(), inputs.size()));
      return watching;
    }
  }
  return nullptr;
}

void end(const at::RecordFunction& call, at::ObserverContext* context) {
  const auto* watching = static_cast<Watching*>(context);
  if (!watching) {
    return;
  }
  inside = nullptr;
  if (std::uncaught_exceptions() > watching->exceptions) {
    watching->eye->failed(*watching->op, "");
  } else {
    watching->eye->after(*watching->op, call.outputs());
  }
}

} // namespace

void observe(std::shared_ptr<Observer> next) {
  static std::optional<at::CallbackHandle> callback;
  if (next && !callback) {
    callback = at::addGlobalCallback(
        at::RecordFunctionCallback(begin, end).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
  } else if (!next && callback) {
    at::removeCallback(*callback);
    callback.reset();
  }
  observer = std::move(next);
}

} // namespace cordee
