// StatusPage: the figures of the status page as JSON, made anew at most once a second and only when
// asked. Thread-safe. And the page's own files, which are linked into the daemon.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "src/node/history.hpp"
#include "src/node/node_view.hpp"

namespace driftlock {

struct PageFile {
  std::string_view path;  // "/page/page.js"
  std::string_view content_type;
  std::string_view bytes;
};
// Null where there is no such file.
[[nodiscard]] const PageFile* find_page_file(std::string_view path);

class StatusPage {
 public:
  explicit StatusPage(const NodeView& view) : view_(view), history_(view) {}

  // One object: `unix_ms`, and the admin socket's answers by command: status, clock, locks (those
  // held), waiting (those waited for, with queues and deadlocks), and what else the node knows.
  [[nodiscard]] std::string state_json();
  // {"fields": [...], "samples": [[...], ...]}, oldest first; `since_unix_ms`: later ones only.
  [[nodiscard]] std::string history_json(std::int64_t since_unix_ms) const;

 private:
  [[nodiscard]] std::string make_state() const;

  const NodeView view_;
  const History history_;
  std::mutex mutex_;
  std::string state_;                                // guarded by mutex_
  std::chrono::steady_clock::time_point made_at_{};  // guarded by mutex_
};

}  // namespace driftlock
