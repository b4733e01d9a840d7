// A parameter that takes any function object without allocating memory.
#pragma once

namespace pleat {

/// Refers to a function object of the caller's, which must outlive the call, and knows how to call it.
template <class... Args>
class FunctionRef {
 public:
  template <class Body>
  FunctionRef(const Body& body)
      : body_(&body), call_([](const void* object, Args... args) { (*static_cast<const Body*>(object))(args...); }) {}
  void operator()(Args... args) const { call_(body_, args...); }

 private:
  const void* body_;
  void (*call_)(const void*, Args...);
};

}  // namespace pleat
