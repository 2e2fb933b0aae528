// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace octavo {

// Each code is one class of octavo.errors in Python and one status of the C API.
enum class ErrorCode : uint8_t {
  kFormat,           // the bytes of a plan or container are malformed
  kUnsupported,      // well-formed, but this build cannot run it
  kShape,            // shapes or strides that do not fit together
  kLimit,            // a size that overflows or exceeds a stated limit
  kIsa,              // an unknown, absent or unsupported instruction set
  kInvalidArgument,  // the caller's arguments
  kInternal,         // a broken invariant: a bug in octavo
};

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }

 private:
  ErrorCode code_;
  std::string message_;
};

// Throws Error with a printf-formatted message. Name the node or field, the value and the remedy.
[[noreturn]] void fail(ErrorCode code, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

}  // namespace octavo
