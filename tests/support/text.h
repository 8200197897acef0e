// What tests ask of messages.
#pragma once

#include <string>

namespace arenad {

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace arenad
