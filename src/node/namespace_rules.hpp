// Namespace rules: the text of the option `namespaces.rules` as the engine wants it.
//   "7: policy=fence, suspect_one_in=100; 9: predict=shadow, locks_max=1000"
#pragma once

#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/lock/namespaces.hpp"

namespace driftlock {

// An Error names the rule, the key and what is allowed.
[[nodiscard]] Result<std::vector<NamespaceOptions>> parse_namespace_rules(const std::string& text);

}  // namespace driftlock
