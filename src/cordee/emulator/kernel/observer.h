// Whom to tell about every operator that works on device tensors.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <exception>
#include <memory>

namespace cordee {

// What it needs of Python it takes itself. Between `before` and what ends it, other operators may
// begin and end: a host fallback copies its arguments.
class Observer {
 public:
  virtual ~Observer() = default;
  // Arguments as the program gave them.
  virtual void before(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments) = 0;
  virtual void after(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> results) = 0;
  // Ends the operator in the place of `after`; `why` is empty where it is not known.
  virtual void failed(const c10::OperatorHandle& op, const char* why) = 0;
};

// The observer; null for none.
extern std::shared_ptr<Observer> observer;

// Replaces the observer. From then on it also hears of operators that have no kernel for the device
// (they fall back to the host) and of collectives.
void observe(std::shared_ptr<Observer> next);

// Runs `carry_out`, which turns the arguments on the stack into results, under the observer's eyes.
template <class F>
void watched(const c10::OperatorHandle& op, torch::jit::Stack* stack, F&& carry_out) {
  if (C10_LIKELY(observer == nullptr)) {
    carry_out();
    return;
  }
  const std::shared_ptr<Observer> eye = observer;
  const auto last = [&](size_t count) { return c10::ArrayRef<c10::IValue>(*stack).slice(stack->size() - count); };
  eye->before(op, last(op.schema().arguments().size()));
  try {
    carry_out();
  } catch (const std::exception& error) {
    eye->failed(op, error.what());
    throw;
  }
  eye->after(op, last(op.schema().returns().size()));
}

} // namespace cordee
